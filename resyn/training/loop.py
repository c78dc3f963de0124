"""The training loop: steps, not epochs; it knows neither Ray nor DeepSpeed nor MLflow."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from resyn.config.train import TrainConfig
from resyn.errors import RunError
from resyn.training.checkpoint import Checkpoint, CheckpointStore
from resyn.training.data import BatchPlan, TrainingData, prefetch
from resyn.training.ema import WeightAverage
from resyn.training.engine import Engine
from resyn.training.feeding import Ready
from resyn.training.flops import step_flops
from resyn.training.optim import learning_rate
from resyn.training.speed import StepCost, device_peak, memory_figures
from resyn.training.step import TrainStep
from resyn.training.validation import validate


@dataclass(frozen=True, slots=True)
class Progress:
    """One line for the terminal and for tracking."""

    step: int
    total_steps: int
    metrics: Mapping[str, float]
    rates: Mapping[str, float]
    """Speed and memory as metrics, see `resyn.training.speed`."""
    eta_seconds: float

    @property
    def examples_per_second(self) -> float:
        """Crops of all ranks."""
        return self.rates["examples_per_second"]


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Where training ended: last metrics, the checkpoint's URI, the tracking run."""

    step: int
    metrics: dict[str, float]
    checkpoint: str
    run_id: str | None = None


class TrainingRun:
    """One rank's part of a run."""

    def __init__(
        self, config: TrainConfig, data: TrainingData, engine: Engine, store: CheckpointStore
    ) -> None:
        self.config, self.data, self.engine, self.store = config, data, engine, store
        self.method = config.typed_method
        self.plan = BatchPlan.divide(config.batch, engine.world_size)
        decay = config.optim.ema_decay
        self.average = WeightAverage(engine.network, decay) if decay > 0 else None
        self.stepping = TrainStep(self.method, engine, self.average)
        self.cost = self._step_cost()
        self.step = 0
        self.first_step_at = 0.0
        """When this process had queued its first step, by `time.perf_counter`."""
        self.run_id: str | None = None
        self.metrics: dict[str, float] = {}
        self.checkpoint = ""

    def resume(self, checkpoint: Checkpoint | None) -> None:
        """Continue from `checkpoint`, whose weights the engine's network already has."""
        if checkpoint is None:
            return
        self.engine.load_moments(checkpoint.moments, checkpoint.step)
        if self.average is not None and checkpoint.ema:
            self.average.load(checkpoint.ema, checkpoint.step)
        self.step = checkpoint.step
        self.run_id = checkpoint.state.get("mlflow_run_id")
        self.metrics = dict(checkpoint.state.get("metrics", {}))
        self.checkpoint = self.store.uri(self.store.folders()[-1])

    def run(
        self,
        on_progress: Callable[[Progress], None],
        on_checkpoint: Callable[[int, Mapping[str, float]], None],
    ) -> TrainResult:
        """Train to the last step. Raises RunError when the loss is no longer finite."""
        run = self.config.run
        steps = range(self.step, self.config.steps)
        clock, since = time.perf_counter(), self.step
        batches = prefetch(self.ready_batches(step) for step in steps)
        for micro_batches in self.stepping.parts.watch(batches):
            sums = self.train_step(micro_batches)
            last = self.step == self.config.steps
            if self.step % run.log_every == 0 or last:
                self.metrics |= self._reduce(sums)
                elapsed = time.perf_counter() - clock
                on_progress(self._progress(self.step - since, elapsed))
                clock, since = time.perf_counter(), self.step
            if self.step % run.checkpoint_every == 0 or last:
                self._save()
                on_checkpoint(self.step, self.metrics)
                clock, since = time.perf_counter(), self.step
        return TrainResult(self.step, self.metrics, self.checkpoint, self.run_id)

    def ready_batches(self, step: int) -> list[Ready]:
        """This rank's micro-batches of `step`, on or on the way to the device."""
        loaded = self.data.step(step, self.plan, self.engine.rank)
        return [self.stepping.feeder.feed(micro.batch, micro.seeds) for micro in loaded]

    def train_step(self, micro_batches: Sequence[Ready]) -> dict[str, Tensor]:
        """One optimiser step of this rank; loss and metrics as means over its items."""
        lr = learning_rate(self.step, self.config.optim, self.config.steps)
        sums = self.stepping(micro_batches, lr)
        self.first_step_at = self.first_step_at or time.perf_counter()
        self.step += 1
        return sums

    def _step_cost(self) -> StepCost:
        items, world = self.plan.items, self.engine.world_size
        seconds = items * self.config.batch.crop_seconds
        peak = device_peak(self.engine.device)
        flops = step_flops(self.engine.network, items, self.data.frames)
        return StepCost(items, seconds, flops, None if peak is None else world * peak)

    def _reduce(self, sums: dict[str, Tensor]) -> dict[str, float]:
        """Means over ranks; a loss that is not finite ends the run before anything is saved."""
        values = torch.stack([value.float() for value in sums.values()])
        if self.engine.world_size > 1:
            dist.all_reduce(values)
            values /= self.engine.world_size
        metrics = dict(zip(sums, values.tolist(), strict=True))
        if not torch.isfinite(values).all():
            raise RunError(
                f"step {self.step}: the loss is {metrics['loss']}; the last good checkpoint is "
                f"{self.checkpoint or 'none'}; lower optim.lr or raise optim.warmup_steps"
            )
        return metrics

    def _progress(self, steps: int, elapsed: float) -> Progress:
        rates = self.cost.rates(steps, elapsed) | memory_figures(self.stepping.meter)
        remaining = (self.config.steps - self.step) * elapsed / max(steps, 1)
        return Progress(self.step, self.config.steps, dict(self.metrics), rates, remaining)

    def _save(self) -> None:
        """Validate and commit a checkpoint. Gathering is collective; rank 0 writes."""
        weights, moments = self.engine.weights(), self.engine.moments()
        network = self.average.network if self.average is not None else self.engine.network
        held = self.data.validation()
        if held is not None:
            reader = self.data.reader
            self.metrics |= validate(self.method, network, held, reader.spec, self.engine.device)
        if self.engine.rank == 0:
            ema = self.average.weights() if self.average is not None else {}
            self.checkpoint = self.store.save(
                Checkpoint(self._config(), self._state(), weights, ema, moments, self.data.space)
            )

    def final_weights(self) -> dict[str, Tensor]:
        """What the run leaves to be used: the averaged weights, or the raw ones without any."""
        if self.average is not None:
            return self.average.weights()
        checkpoint = self.store.latest()
        return checkpoint.weights if checkpoint is not None else {}

    def _config(self) -> dict[str, Any]:
        tree = self.config.model_dump(mode="json")
        codec = self.data.reader.spec.to_dict()
        return {"method": tree["method"], "model": tree["model"], "codec": codec, "train": tree}

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "examples": self.step * self.plan.items,
            "seed": self.config.seed,
            "recipe": self.config.recipe(),
            "shard_fingerprint": self.data.reader.fingerprint,
            "mlflow_run_id": self.run_id,
            "metrics": self.metrics,
        }
