"""Losses and weights that are no numbers any more: which step was the first."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import torch
import torch.distributed as dist
from torch import Tensor

from resyn.errors import RunError
from resyn.storage import Storage
from resyn.training.data import BatchPlan, TrainingData
from resyn.training.engine import Engine

_NEVER = torch.iinfo(torch.int64).max


class LossWatch:
    """Notes the first step whose loss is not finite on the loss's own device, without a sync."""

    def __init__(self) -> None:
        self._first: Tensor | None = None
        self._loss = torch.zeros(())

    def note(self, step: int, loss: Tensor) -> None:
        """`loss` () of the step with the number `step`."""
        loss = loss.detach().float()
        if self._first is None:
            self._first = torch.full((), _NEVER, dtype=torch.int64, device=loss.device)
            self._loss = torch.zeros_like(loss)
        new = ~torch.isfinite(loss) & (self._first == _NEVER)
        self._first = torch.where(new, step, self._first)
        self._loss = torch.where(new, loss, self._loss)

    def first_bad(self, world_size: int) -> tuple[int, float] | None:
        """The first such step of any rank, and its loss (a sum over ranks); collective, waits."""
        if self._first is None:
            return None
        first, loss = self._first.clone(), self._loss
        if world_size > 1:
            dist.all_reduce(first, op=dist.ReduceOp.MIN)
            loss = torch.where(self._first == first, loss, 0.0)
            dist.all_reduce(loss)
        return None if int(first) == _NEVER else (int(first), float(loss))


class FiniteGuard:
    """Ends a run whose loss or weights are no longer finite, and says with which batch.

    All of that batch's segments are listed in `nonfinite.json` in the folder `report`.
    """

    def __init__(
        self, data: TrainingData, plan: BatchPlan, engine: Engine, report: Storage
    ) -> None:
        self.data, self.plan, self.engine, self.report = data, plan, engine, report
        self._watch = LossWatch()

    def note(self, step: int, loss: Tensor) -> None:
        """Take in the loss () of this rank after the step with the number `step`."""
        self._watch.note(step, loss)

    def check_loss(self, last_good: str) -> None:
        """Raises RunError on every rank when a loss noted on any was not finite. Collective."""
        bad = self._watch.first_bad(self.engine.world_size)
        if bad is not None:
            raise self._failure(bad[0], f"the loss is {bad[1]}", last_good)

    def check_weights(self, step: int, tensors: Mapping[str, Tensor], last_good: str) -> None:
        """Raises RunError for a tensor that is not finite, after a step whose loss was."""
        for name, value in tensors.items():
            if not torch.isfinite(value).all():
                raise self._failure(step, f"{name} is no longer finite", last_good)

    def _failure(self, step: int, what: str, last_good: str) -> RunError:
        ids = self.data.utt_ids(step - 1, self.plan)
        end = step * self.plan.items
        named = f"{', '.join(ids[:4])} and {len(ids) - 4} more" if len(ids) > 4 else ", ".join(ids)
        if self.engine.rank == 0:
            record = {"step": step, "what": what, "examples_end": end, "utt_ids": ids}
            with suppress(OSError):  # The failure matters more than its report.
                self.report.write_json("nonfinite.json", record)
        return RunError(
            f"step {step}: {what}, on examples {end - len(ids)} to {end - 1} ({named}); the last "
            f"good checkpoint is {last_good or 'none'}; start anew with a lower optim.lr or a "
            "longer optim.warmup_steps, from that one if you like (init_from)"
        )
