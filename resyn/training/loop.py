"""The training loop: steps, not epochs; it knows neither Ray nor DeepSpeed nor MLflow."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from resyn.config.train import TrainConfig
from resyn.errors import RunError
from resyn.randomness import SampleRandom
from resyn.training.ahead import load_ahead
from resyn.training.checkpoint import Checkpoint, CheckpointStore
from resyn.training.data import BatchPlan, MicroBatch, TrainingData, to_device
from resyn.training.ema import WeightAverage
from resyn.training.engine import Engine
from resyn.training.optim import learning_rate
from resyn.training.validation import validate


@dataclass(frozen=True, slots=True)
class Progress:
    """One line for the terminal and for tracking."""

    step: int
    total_steps: int
    metrics: Mapping[str, float]
    examples_per_second: float
    eta_seconds: float


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
        self.step = 0
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
        ends_soon: Callable[[], bool] = lambda: False,
    ) -> TrainResult:
        """Train to the last step. Raises RunError when the loss is no longer finite.

        `ends_soon` is asked whenever metrics are due, on every rank; True, which all ranks must
        answer alike, takes a checkpoint at once.
        """
        run = self.config.run
        steps = range(self.step, self.config.steps)
        clock, since = time.perf_counter(), self.step
        for micro_batches in load_ahead(self._load, steps, run.load_ahead, run.load_ahead):
            sums = self.train_step(micro_batches)
            last, urgent = self.step == self.config.steps, False
            if self.step % run.log_every == 0 or last:
                self.metrics |= self._reduce(sums)
                elapsed = time.perf_counter() - clock
                on_progress(self._progress(self.step - since, elapsed))
                clock, since = time.perf_counter(), self.step
                urgent = not last and ends_soon()
            if self.step % run.checkpoint_every == 0 or last or urgent:
                self._save()
                on_checkpoint(self.step, self.metrics)
                clock, since = time.perf_counter(), self.step
        return TrainResult(self.step, self.metrics, self.checkpoint, self.run_id)

    def _load(self, step: int) -> list[MicroBatch]:
        return self.data.step(step, self.plan, self.engine.rank)

    def train_step(self, micro_batches: list[MicroBatch]) -> dict[str, Tensor]:
        """One optimiser step of this rank; loss and metrics as means over its items."""
        sums: dict[str, Tensor] = {}
        for index, micro in enumerate(micro_batches):
            batch = to_device(micro.batch, self.engine.device)
            random = SampleRandom(micro.seeds, self.engine.device)
            with self.engine.autocast():
                output = self.method.loss(self.engine.module, batch, random)
            self.engine.backward(micro.mean(output.per_item), index == len(micro_batches) - 1)
            parts = {"loss": output.per_item.detach(), **output.metrics}
            for name, value in parts.items():
                sums[name] = sums.get(name, torch.zeros(())) + micro.mean(value) / len(
                    micro_batches
                )
        self.engine.step(learning_rate(self.step, self.config.optim, self.config.steps))
        if self.average is not None:
            self.average.update(self.engine.network)
        self.step += 1
        return sums

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
        rate = steps / max(elapsed, 1e-9)
        remaining = (self.config.steps - self.step) / max(rate, 1e-9)
        return Progress(
            self.step, self.config.steps, dict(self.metrics), rate * self.plan.items, remaining
        )

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
