"""When the ranks of a run look up from training: by the clock, and all at the same step."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.distributed as dist

#: Seconds between looks. A notice that a machine is taken away may leave no more than thirty.
LOOK_SECONDS = 5.0


class Looks:
    """The steps to look up at, about `seconds` apart.

    Clocks of ranks differ, and to ask the others at every step would make each step wait for the
    device. So every look settles the step of the next one, by what steps took on the slowest rank.
    The first is due after one step, and a gap is at most twice the one before.
    """

    def __init__(
        self,
        step: int,
        world_size: int,
        device: torch.device,
        seconds: float = LOOK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._world_size, self._device = world_size, device
        self._seconds, self._clock = seconds, clock
        self._last, self._next = step, step + 1
        self._looked = self._saved = clock()

    def due(self, step: int) -> bool:
        """Whether to look after the step with the number `step`; the same on every rank."""
        return step >= self._next

    def look(self, step: int) -> float:
        """Seconds since the last checkpoint, the same on every rank. Collective."""
        now = self._clock()
        spent = torch.tensor([now - self._looked, now - self._saved], dtype=torch.float64)
        if self._world_size > 1:
            spent = spent.to(self._device)
            dist.all_reduce(spent, op=dist.ReduceOp.MAX)
        elapsed, unsaved = spent.tolist()
        steps = step - self._last
        fitting = int(steps * self._seconds / max(elapsed, 1e-9))
        self._last, self._next = step, step + min(max(1, fitting), 2 * steps)
        self._looked = now
        return unsaved

    def saved(self) -> None:
        """A checkpoint was just committed."""
        self._saved = self._clock()
