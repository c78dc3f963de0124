"""The training loop: steps, not epochs; it knows neither Ray nor DeepSpeed nor MLflow."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from resyn.config.train import TrainConfig
from resyn.training.ahead import load_ahead
from resyn.training.checkpoint import Checkpoint, CheckpointStore, folder_name
from resyn.training.data import BatchPlan, TrainingData
from resyn.training.ema import WeightAverage
from resyn.training.engine import Engine
from resyn.training.feeding import Ready
from resyn.training.finite import FiniteGuard
from resyn.training.flops import step_flops
from resyn.training.looks import Looks
from resyn.training.observer import Observer, Progress
from resyn.training.optim import learning_rate
from resyn.training.ranks import require_same_step
from resyn.training.speed import StepCost, device_peak, memory_figures
from resyn.training.step import TrainStep
from resyn.training.validation import Listener, Validator


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Where training ended: last metrics, the checkpoint's URI, the tracking run."""

    step: int
    metrics: dict[str, float]
    checkpoint: str
    run_id: str | None = None
    best: str | None = None
    """URI of the best checkpoint, if one is marked."""


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
        self.validated_step: int | None = None
        self.checkpoint = ""
        self.listener: Listener | None = None
        """What listens to validations; one rank is enough to have it."""
        self._validator: Validator | None = None
        self._guard = FiniteGuard(data, self.plan, engine, store.storage)

    def resume(self, checkpoint: Checkpoint | None) -> None:
        """Continue from `checkpoint`, whose weights the engine's network already has.

        Raises PassingFault when the ranks were given different ones.
        """
        engine, step = self.engine, checkpoint.step if checkpoint is not None else 0
        require_same_step(step, engine.world_size, engine.device, self.config.output)
        if checkpoint is None:
            return
        self.engine.load_moments(checkpoint.moments, checkpoint.step)
        if self.average is not None and checkpoint.ema:
            self.average.load(checkpoint.ema, checkpoint.step)
        self.step = checkpoint.step
        self.run_id = checkpoint.state.get("mlflow_run_id")
        self.metrics = dict(checkpoint.state.get("metrics", {}))
        self.validated_step = checkpoint.state.get("validated_step")
        self.checkpoint = self.store.uri(folder_name(checkpoint.step))

    def run(self, observer: Observer) -> TrainResult:
        """Train to the last step. Raises RunError when loss or weights are no longer finite."""
        run = self.config.run
        validate_every = run.validate_every or run.checkpoint_every
        steps = range(self.step, self.config.last_step)
        looks = Looks(self.step, self.engine.world_size, self.engine.device)
        clock, since = time.perf_counter(), self.step
        batches = load_ahead(self.ready_batches, steps, run.load_ahead, run.load_ahead)
        for micro_batches in self.stepping.parts.watch(batches):
            sums = self.train_step(micro_batches)
            self._guard.note(self.step, sums["loss"])
            look = looks.due(self.step)
            if look or any(map(self._due, (run.log_every, validate_every, run.checkpoint_every))):
                self._guard.check_loss(self.checkpoint)
            if self._due(run.log_every):
                measured = self._reduce(sums)
                self.metrics |= measured
                elapsed = time.perf_counter() - clock
                observer.progress(self._progress(measured, self.step - since, elapsed))
                clock, since = time.perf_counter(), self.step
            if self._due(validate_every):
                observer.validation(self.step, self._validate())
                clock, since = time.perf_counter(), self.step
            early = look and self._save_early(looks.look(self.step), observer)
            if early or self._due(run.checkpoint_every):
                observer.before_save()
                self._save()
                observer.checkpoint(self.step, self.metrics)
                looks.saved()
                clock, since = time.perf_counter(), self.step
        best = self.store.best()
        best = self.store.uri(best) if best else None
        return TrainResult(self.step, self.metrics, self.checkpoint, self.run_id, best)

    def _save_early(self, unsaved: float, observer: Observer) -> bool:
        """Whether `unsaved` seconds without a checkpoint, or an end that is near, call for one."""
        minutes = self.config.run.checkpoint_minutes
        return observer.ends_soon() or (minutes is not None and unsaved >= 60 * minutes)

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.config.last_step

    def ready_batches(self, step: int) -> list[Ready]:
        """This rank's micro-batches of `step`, on or on the way to the device."""
        loaded = self.data.step(step, self.plan, self.engine.rank)
        feeder = self.stepping.feeder
        return [feeder.feed(micro.batch, micro.seeds, micro.weights) for micro in loaded]

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
        """Means over ranks."""
        values = torch.stack([value.float() for value in sums.values()])
        if self.engine.world_size > 1:
            dist.all_reduce(values)
            values /= self.engine.world_size
        return dict(zip(sums, values.tolist(), strict=True))

    def _progress(self, measured: Mapping[str, float], steps: int, elapsed: float) -> Progress:
        rates = self.cost.rates(steps, elapsed) | memory_figures(self.stepping.meter)
        remaining = (self.config.last_step - self.step) * elapsed / max(steps, 1)
        return Progress(self.step, self.config.steps, dict(measured), rates, remaining)

    def _validate(self) -> dict[str, float]:
        """`validation_…` of the weights that are to be used, `raw_validation_…` beside averaged.

        Every rank runs the networks, which may be divided among them.
        """
        if self._validator is None:
            held = self.data.validation()
            if held is None:
                return {}
            spec = self.data.reader.spec
            self._validator = Validator(self.method, held, spec, self.engine.device)
            self._validator.listener = self.listener
        networks = {"validation": self.engine.network}
        if self.average is not None:
            networks = {"validation": self.average.network, "raw_validation": self.engine.network}
        figures = {
            f"{kind}_{name}": value
            for kind, network in networks.items()
            for name, value in self._validator.measure(network).items()
        }
        self.metrics |= figures
        self.validated_step = self.step
        return figures

    def _save(self) -> None:
        """Commit a checkpoint of finite weights. Gathering is collective; rank 0 writes."""
        weights, moments = self.engine.weights(), self.engine.moments()
        ema = self.average.weights() if self.average is not None else {}
        for tensors in (weights, ema, moments):
            # The loss was finite until now, so if these are not, this step has broken them.
            self._guard.check_weights(self.step, tensors, self.checkpoint)
        if self.engine.rank == 0:
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
            "validated_step": self.validated_step,
        }
