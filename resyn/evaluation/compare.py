"""One estimate against its reference: the unit of parallel work."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from resyn.audio import resample
from resyn.evaluation.metrics import Metric, Score
from resyn.evaluation.metrics.base import as_pair
from resyn.types import Audio

#: Bytes in memory per byte on disk, activations and a moment of loading included; and the bytes
#: of a process with torch and transformers in it.
_LOADED, _LIBRARIES = 1.5, 1 << 30

Item = TypeVar("Item")
Made = TypeVar("Made")


class ParallelMap(Protocol):
    """`map`, perhaps in other processes: lazily, and in the order of `items`."""

    def __call__(
        self, function: Callable[[Item], Made], items: Iterable[Item], /
    ) -> Iterable[Made]:
        """The values of a module-level `function`, one by one."""
        ...


def serial_map(function: Callable[[Item], Made], items: Iterable[Item]) -> Iterable[Made]:
    """The built-in `map`."""
    return map(function, items)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two takes of one utterance, of equal rate and length, and the metrics to compute.

    `text` is what is said, None where nobody wrote it down.
    """

    reference: Audio
    estimate: Audio
    metrics: tuple[Metric, ...]
    text: str | None = None

    @property
    def memory(self) -> int:
        """Bytes that a process needs for the models of its metrics; 0 where there are none."""
        sizes = [metric.weights.num_bytes for metric in self.metrics if metric.weights]
        return round(_LOADED * sum(sizes)) + _LIBRARIES if sizes else 0


def compare(comparison: Comparison) -> dict[str, Score]:
    """The scores by metric name. Raises ValueError when rates or lengths differ."""
    text = comparison.text
    native = as_pair(comparison.reference, comparison.estimate, text)
    pairs = {native.sample_rate: native}
    scores: dict[str, Score] = {}
    for metric in comparison.metrics:
        rate = metric.sample_rate or native.sample_rate
        if rate not in pairs:
            takes = (comparison.reference, comparison.estimate)
            reference, estimate = (resample(take, rate) for take in takes)
            pairs[rate] = as_pair(reference, estimate, text)
        scores[metric.name] = metric.score(pairs[rate])
    return scores
