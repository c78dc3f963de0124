"""One estimate against its reference: the unit of parallel work."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from resyn.audio import resample
from resyn.evaluation.metrics import AUDIO_METRICS, Score
from resyn.evaluation.metrics.base import as_pair
from resyn.types import Audio

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
    """Two takes of one utterance, of equal rate and length, and the metrics to compute."""

    reference: Audio
    estimate: Audio
    metrics: tuple[str, ...]


def compare(comparison: Comparison) -> dict[str, Score]:
    """The scores by metric name. Raises ValueError when rates or lengths differ."""
    native = as_pair(comparison.reference, comparison.estimate)
    pairs = {native.sample_rate: native}
    scores: dict[str, Score] = {}
    for name in comparison.metrics:
        metric = AUDIO_METRICS[name]
        rate = metric.sample_rate or native.sample_rate
        if rate not in pairs:
            takes = (comparison.reference, comparison.estimate)
            pairs[rate] = as_pair(*(resample(take, rate) for take in takes))
        scores[name] = metric.score(pairs[rate])
    return scores
