"""Ratios of two pieces of work, timed in turn so that the machine's moods meet both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one run."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def report_speed(
    name: str, ours: Callable[[], object], other: Callable[[], object], rounds: int
) -> None:
    """Print how many times as fast as `other` `ours` is."""
    ours(), other()
    print_ratios(name, [1 / (seconds(ours) / seconds(other)) for _ in range(rounds)])


def print_ratios(name: str, ratios: Sequence[float], goal: str = "") -> None:
    """The median of `ratios`, its spread, and the `goal` it is to meet."""
    low, middle, high = statistics.quantiles(ratios, n=4)
    beside = f"; goal {goal}" if goal else ""
    print(f"{name}: {middle:.3f} (quartiles {low:.3f} to {high:.3f}, {len(ratios)} rounds{beside})")
