"""What a metric is, and the one way in which metrics are run.

A value is a number or null with a reason. Nothing stands in for a value that could not be had: a
missing package, silent audio or a metric's own failure is told, never papered over.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from resyn.evaluation.metrics.weights import ModelFiles, NoValueError, Weights
from resyn.types import Audio

#: Peak below which audio counts as silent: half a step of 16-bit samples.
SILENCE_PEAK = 0.5 / 32768


class Record(BaseModel):
    """Base of everything that `results.json` holds: immutable, strict, and never NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Score(Record):
    """One value, or None with the reason why there is none.

    `words` is what a value per word of the transcript was divided by; None for other metrics.
    """

    value: float | None
    reason: str | None = None
    words: int | None = None


class MetricInfo(Record):
    """What a column means and what computed it; travels with every set of values.

    `sample_rate` in Hz is the rate at which the metric hears; `version` is None when `package` is
    not installed; `weights` names the model that it ran and is None where none is needed or found.
    """

    name: str
    title: str
    unit: str
    better: Literal["higher", "lower"]
    digits: int
    """Decimals worth printing."""
    sample_rate: int
    package: str
    version: str | None
    definition: str
    is_cost: bool = False
    """True for a price (time) rather than a quality."""
    per_word: bool = False
    """True for errors per word of the transcript, which a table pools over its utterances."""
    weights: str | None = None
    weights_sha256: str | None = None

    @property
    def backend(self) -> str:
        """Package, version, weights and rate in a few words: `pystoi 0.4.1, 16 kHz`."""
        parts = [f"{self.package} {self.version or '(not installed)'}"]
        if self.weights and self.weights_sha256:
            parts.append(f"{self.weights} ({self.weights_sha256[:8]})")
        return ", ".join([*parts, f"{self.sample_rate / 1000:g} kHz"])

    def identity(self) -> str:
        """Sixteen hex digits that change with anything a value could depend on.

        A model counts by its bytes, wherever it lies and whatever it is called.
        """
        text = self.model_dump_json(exclude={"weights"})
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def is_better(self, value: float, than: float) -> bool:
        """True when `value` is strictly better."""
        return value > than if self.better == "higher" else value < than


@dataclass(frozen=True, slots=True)
class Pair:
    """Two signals of equal length and rate: `reference` and `estimate` (S,) float32.

    `text` is what is said in the reference, None where nobody wrote it down.
    """

    reference: np.ndarray
    estimate: np.ndarray
    sample_rate: int
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """A named function of a pair of signals, with all that a reader of its values must know.

    A metric with `files` runs a model: `bound` to weights that were found it is ready, as it
    stands here it has no values.
    """

    name: str
    title: str
    unit: str
    better: Literal["higher", "lower"]
    digits: int
    package: str
    """Distribution that does the work; its version is recorded."""
    definition: str
    compute: Callable[..., float | Score]
    """Of a Pair; with `files`, of a Pair, the Weights and the torch device. May raise NoValueError,
    or anything else: either way the value is null with a reason."""
    sample_rate: int | None = 16_000
    """Rate in Hz at which it hears; None is the codec's own."""
    besides: tuple[str, ...] = ()
    """Further distributions that do the work; their versions are part of the definition."""
    per_word: bool = False
    """True for errors per word of the transcript."""
    files: ModelFiles | None = None
    """The model that it runs, if any."""
    weights: Weights | None = None
    """Where that model was found."""
    obstacle: str = ""
    """Why it was not found."""

    def bound(self, weights: Weights, device: str) -> Metric:
        """The metric, ready to run the model `weights` on torch's `device`."""
        compute = partial(self.compute, weights=weights, device=device)
        return replace(self, compute=compute, weights=weights)

    def missing_package(self) -> str:
        """Which package is not installed, and what to do; empty when none."""
        for package in (self.package, *self.besides):
            if package_version(package) is None:
                return f"package {package} is not installed: pip install 'resyn[eval]'"
        return ""

    def missing(self) -> str:
        """Why there can be no value here, whatever the audio; empty when there can."""
        unbound = self.files is not None and self.weights is None
        return self.missing_package() or (
            (self.obstacle or "its model was not looked for") if unbound else ""
        )

    def info(self, codec_rate: int) -> MetricInfo:
        """The metric as it runs here, on audio at `codec_rate` Hz."""
        versions = [f"{one} {package_version(one) or '(not installed)'}" for one in self.besides]
        return MetricInfo(
            name=self.name,
            title=self.title,
            unit=self.unit,
            better=self.better,
            digits=self.digits,
            sample_rate=self.sample_rate or codec_rate,
            package=self.package,
            version=package_version(self.package),
            definition="; ".join([self.definition, *versions]),
            per_word=self.per_word,
            weights=self.weights.name if self.weights else None,
            weights_sha256=self.weights.sha256 if self.weights else None,
        )

    def score(self, pair: Pair) -> Score:
        """The value for `pair`, which is at this metric's rate; never raises on bad audio."""
        if reason := self.missing():
            return Score(value=None, reason=reason)
        try:
            _refuse_unmeasurable(pair)
            made = self.compute(pair)
        except NoValueError as error:
            return Score(value=None, reason=str(error))
        except Exception as error:  # a third party's failure is a fact about this utterance
            return Score(value=None, reason=f"{self.package}: {type(error).__name__}: {error}")
        if isinstance(made, Score):
            return made
        if not math.isfinite(value := float(made)):
            return Score(value=None, reason=f"{self.package} returned {value}")
        return Score(value=value)


def package_version(package: str) -> str | None:
    """Installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def as_pair(reference: Audio, estimate: Audio, text: str | None = None) -> Pair:
    """Two takes of the same stretch as a pair. Raises ValueError when rate or length differ."""
    if reference.sample_rate != estimate.sample_rate:
        rates = f"{reference.sample_rate} and {estimate.sample_rate} Hz"
        raise ValueError(f"reference and estimate differ in sample rate: {rates}")
    if reference.samples.shape != estimate.samples.shape:
        shapes = f"{reference.samples.shape} and {estimate.samples.shape}"
        raise ValueError(f"reference and estimate differ in shape: {shapes}")
    return Pair(reference.samples, estimate.samples, reference.sample_rate, text)


def _refuse_unmeasurable(pair: Pair) -> None:
    for name, samples in (("reference", pair.reference), ("estimate", pair.estimate)):
        if samples.size == 0:
            raise NoValueError(f"the {name} is empty")
        if not np.isfinite(samples).all():
            raise NoValueError(f"the {name} has samples that are not finite")
        if np.abs(samples).max() < SILENCE_PEAK:
            raise NoValueError(f"the {name} is silent")
