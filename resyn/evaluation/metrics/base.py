"""What a metric is, and the one way in which metrics are run.

A value is a number or null with a reason. Nothing stands in for a value that could not be had: a
missing package, silent audio or a metric's own failure is told, never papered over.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from resyn.types import Audio

#: Peak below which audio counts as silent: half a step of 16-bit samples.
SILENCE_PEAK = 0.5 / 32768


class Record(BaseModel):
    """Base of everything that `results.json` holds: immutable, strict, and never NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Score(Record):
    """One value, or None with the reason why there is none."""

    value: float | None
    reason: str | None = None


class MetricInfo(Record):
    """What a column means and what computed it; travels with every set of values.

    `sample_rate` in Hz is the rate at which the metric hears; `version` is None when `package` is
    not installed.
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

    @property
    def backend(self) -> str:
        """Package, version and rate in a few words: `pystoi 0.4.1, 16 kHz`."""
        return (
            f"{self.package} {self.version or '(not installed)'}, {self.sample_rate / 1000:g} kHz"
        )

    def identity(self) -> str:
        """Sixteen hex digits that change with anything a value could depend on."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    def is_better(self, value: float, than: float) -> bool:
        """True when `value` is strictly better."""
        return value > than if self.better == "higher" else value < than


class NoValueError(Exception):
    """A metric's way to say why it has no value here."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two signals of equal length and rate: `reference` and `estimate` (S,) float32."""

    reference: np.ndarray
    estimate: np.ndarray
    sample_rate: int


@dataclass(frozen=True, slots=True)
class Metric:
    """A named function of a pair of signals, with all that a reader of its values must know."""

    name: str
    title: str
    unit: str
    better: Literal["higher", "lower"]
    digits: int
    package: str
    """Distribution that does the work; its version is recorded."""
    definition: str
    compute: Callable[[Pair], float]
    """May raise NoValueError, or anything else: either way the value is null with a reason."""
    sample_rate: int | None = 16_000
    """Rate in Hz at which it hears; None is the codec's own."""

    def info(self, codec_rate: int) -> MetricInfo:
        """The metric as it runs here, on audio at `codec_rate` Hz."""
        return MetricInfo(
            name=self.name,
            title=self.title,
            unit=self.unit,
            better=self.better,
            digits=self.digits,
            sample_rate=self.sample_rate or codec_rate,
            package=self.package,
            version=package_version(self.package),
            definition=self.definition,
        )

    def score(self, pair: Pair) -> Score:
        """The value for `pair`, which is at this metric's rate; never raises on bad audio."""
        if package_version(self.package) is None:
            reason = f"package {self.package} is not installed: pip install 'resyn[eval]'"
            return Score(value=None, reason=reason)
        try:
            _refuse_unmeasurable(pair)
            value = float(self.compute(pair))
        except NoValueError as error:
            return Score(value=None, reason=str(error))
        except Exception as error:  # a third party's failure is a fact about this utterance
            return Score(value=None, reason=f"{self.package}: {type(error).__name__}: {error}")
        if not math.isfinite(value):
            return Score(value=None, reason=f"{self.package} returned {value}")
        return Score(value=value)


def package_version(package: str) -> str | None:
    """Installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def as_pair(reference: Audio, estimate: Audio) -> Pair:
    """Two takes of the same stretch as a pair. Raises ValueError when rate or length differ."""
    if reference.sample_rate != estimate.sample_rate:
        rates = f"{reference.sample_rate} and {estimate.sample_rate} Hz"
        raise ValueError(f"reference and estimate differ in sample rate: {rates}")
    if reference.samples.shape != estimate.samples.shape:
        shapes = f"{reference.samples.shape} and {estimate.samples.shape}"
        raise ValueError(f"reference and estimate differ in shape: {shapes}")
    return Pair(reference.samples, estimate.samples, reference.sample_rate)


def _refuse_unmeasurable(pair: Pair) -> None:
    for name, samples in (("reference", pair.reference), ("estimate", pair.estimate)):
        if samples.size == 0:
            raise NoValueError(f"the {name} is empty")
        if not np.isfinite(samples).all():
            raise NoValueError(f"the {name} has samples that are not finite")
        if np.abs(samples).max() < SILENCE_PEAK:
            raise NoValueError(f"the {name} is silent")
