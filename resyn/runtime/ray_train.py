"""Training on Ray Train workers, or in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from resyn.config.train import TrainConfig
from resyn.errors import RunError
from resyn.runtime.engines import build_engine, with_measured_batch
from resyn.runtime.listening import estoi_listener
from resyn.runtime.memory import keep_freed_memory
from resyn.runtime.recording import RunRecorder, tell_pending
from resyn.runtime.tracking import prepare_store, tracking_uri
from resyn.storage import open_storage
from resyn.training.checkpoint import (
    CheckpointStore,
    folder_name,
    latest_folder,
    load_checkpoint,
)
from resyn.training.data import TrainingData, open_shards
from resyn.training.loop import TrainingRun, TrainResult
from resyn.training.observer import Observer
from resyn.training.plan import plan_training
from resyn.training.profile import StepProfiler
from resyn.training.zero import zero_settings

OnMetrics = Callable[[int, Mapping[str, float]], None]
Say = Callable[[str], None]


def fit(config: TrainConfig, say: Say = print) -> TrainResult:
    """Train `config` to its end, resuming from its output. Returns the last checkpoint.

    Raises UserError before any work when the call is wrong, RunError when training fails.
    """
    plan = plan_training(config)
    if plan.complete:
        result = _finished(config)
        config = _resolved(config)
        tell_pending(config, plan.reader, result.run_id, say)
        say(f"nothing to do: {config.output} is complete at step {result.step}")
        return result
    config = _resolved(config)
    if config.run.num_workers == 0:
        return train_in_process(config, say=say)
    from resyn.runtime.worker_group import fit_on_ray

    fit_on_ray(config, say)
    return _finished(config)


def train_in_process(
    config: TrainConfig, on_metrics: OnMetrics | None = None, say: Say = print
) -> TrainResult:
    """Train in this process, on one device and without Ray, with either engine.

    `on_metrics(step, metrics)` is called at every checkpoint.
    """
    return train_rank(_resolved(config), say, _Reporter(on_metrics))


class _Reporter(Observer):
    """Passes on the metrics of every checkpoint."""

    def __init__(self, on_metrics: OnMetrics | None) -> None:
        self.on_metrics = on_metrics

    def checkpoint(self, step: int, metrics: Mapping[str, float]) -> None:
        """See `Observer`."""
        if self.on_metrics is not None:
            self.on_metrics(step, metrics)


def _resolved(config: TrainConfig) -> TrainConfig:
    """Nothing that lies on this machine alone, since workers run elsewhere; a tracking store."""
    uri = tracking_uri(config.tracking.uri)
    prepare_store(uri)
    named = [name for name in ("shards", "output", "init_from") if getattr(config, name)]
    places = {name: open_storage(getattr(config, name)).uri for name in named}
    tracking = config.tracking.model_copy(update={"uri": uri})
    run = config.run
    if run.deepspeed_config is not None:
        run = run.model_copy(update={"deepspeed_config": zero_settings(run)})
    return config.model_copy(update={**places, "tracking": tracking, "run": run})


def _finished(config: TrainConfig) -> TrainResult:
    store = _store(config)
    state = store.latest_state()
    if state is None:
        raise RunError(f"{config.output}: no checkpoint is left here; the same command starts anew")
    best = store.mark_best()
    return TrainResult(
        state["step"],
        state["metrics"],
        store.uri(folder_name(state["step"])),
        state.get("mlflow_run_id"),
        store.uri(best) if best else None,
    )


def _store(config: TrainConfig) -> CheckpointStore:
    return CheckpointStore(config.output, config.run.keep_checkpoints, config.run.best_metric)


def train_rank(config: TrainConfig, say: Say, group: Observer) -> TrainResult:
    """One rank, from its shards to its last checkpoint. `group` is what all ranks take part in."""
    begun = time.perf_counter()
    keep_freed_memory()
    torch.set_num_threads(config.run.threads_per_worker)
    torch.manual_seed(config.seed)
    training = prepare_run(config)
    if training.engine.rank != 0:
        return training.run(group)
    name = config.typed_method.name
    for fault in training.store.faults:
        say(f"{name}: {fault}")
    if training.step:
        say(f"{name}: resuming at step {training.step}")
    spec = training.data.reader.spec
    training.listener, reason = estoi_listener(config, spec, training.engine.device)
    if reason:
        say(f"{name}: validations without ESTOI: {reason}")
    recorder = RunRecorder(config, training, say, group, begun)
    if config.run.profile:
        device = training.engine.device
        training.stepping.parts = StepProfiler(config.run.profile, device, config.output, say)
    try:
        result = training.run(recorder)
        for file, data in config.typed_method.exports(training.final_weights()).items():
            open_storage(config.output).write_bytes(file, data)
    except BaseException:
        recorder.close("FAILED")
        raise
    return replace(result, run_id=recorder.close())


def prepare_run(config: TrainConfig) -> TrainingRun:
    """Data, network and engine, at the newest checkpoint, the given start or a random one."""
    data = TrainingData(config, open_shards(config))
    store = _store(config)
    checkpoint = store.latest()
    network = config.typed_method.build_network(data.reader.spec, config.model)
    if checkpoint is not None:
        network.load_state_dict(checkpoint.weights)
    elif config.init_from is not None:
        start = load_checkpoint(open_storage(latest_folder(config.init_from)), optimizer=False)
        network.load_state_dict(start.ema or start.weights)
    config = with_measured_batch(config, network, data)
    training = TrainingRun(config, data, build_engine(config, network), store)
    training.resume(checkpoint)
    return training
