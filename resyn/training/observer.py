"""What a training run tells, and asks, while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One line for the terminal and for tracking."""

    step: int
    total_steps: int
    metrics: Mapping[str, float]
    rates: Mapping[str, float]
    """Speed and memory as metrics, see `resyn.training.speed`."""
    eta_seconds: float


class Observer:
    """Of one rank's run; this one listens to nothing."""

    def progress(self, progress: Progress) -> None:
        """Losses and speed since the last time. On every rank."""

    def validation(self, step: int, figures: Mapping[str, float]) -> None:
        """What was measured at that step alone. On every rank."""

    def before_save(self) -> None:
        """Comes before a checkpoint is written. On every rank."""

    def checkpoint(self, step: int, metrics: Mapping[str, float]) -> None:
        """A checkpoint is committed; `metrics` is all that is known. On every rank."""

    def ends_soon(self) -> bool:
        """Asked every few seconds; True takes a checkpoint at once.

        All ranks must answer alike.
        """
        return False
