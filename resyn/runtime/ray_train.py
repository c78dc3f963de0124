"""Training on Ray Train workers, or in this process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping

import torch

from resyn.config.base import flatten
from resyn.config.train import TrainConfig
from resyn.runtime.memory import keep_freed_memory
from resyn.runtime.tracking import Tracker, prepare_store, source_tags, tracking_uri
from resyn.storage import open_storage
from resyn.training.checkpoint import CheckpointStore, latest_folder, load_checkpoint
from resyn.training.data import BatchPlan, TrainingData, open_shards
from resyn.training.engine import Engine, TorchEngine
from resyn.training.loop import Progress, TrainingRun, TrainResult
from resyn.training.plan import plan_training

OnMetrics = Callable[[int, Mapping[str, float]], None]
Say = Callable[[str], None]


def fit(config: TrainConfig, say: Say = print) -> TrainResult:
    """Train `config` to its end, resuming from its output. Returns the last checkpoint.

    Raises UserError before any work when the call is wrong, RunError when training fails.
    """
    plan = plan_training(config)
    if plan.complete:
        result = _finished(config)
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
    config = _resolved(config)
    return train_rank(config, say, on_metrics)


def _resolved(config: TrainConfig) -> TrainConfig:
    """Absolute places, because workers run elsewhere, and a tracking store that exists."""
    uri = tracking_uri(config.tracking.uri)
    prepare_store(uri)
    named = [name for name in ("shards", "output", "init_from") if getattr(config, name)]
    places = {name: open_storage(getattr(config, name)).uri for name in named}
    tracking = config.tracking.model_copy(update={"uri": uri})
    return config.model_copy(update={**places, "tracking": tracking})


def _finished(config: TrainConfig) -> TrainResult:
    store = CheckpointStore(config.output)
    state = store.latest_state() or {}
    checkpoint = store.uri(store.folders()[-1])
    return TrainResult(state["step"], state["metrics"], checkpoint, state.get("mlflow_run_id"))


def train_rank(
    config: TrainConfig,
    say: Say,
    on_metrics: OnMetrics | None,
    ends_soon: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """One rank, from its shards to its last checkpoint. `ends_soon`: see `TrainingRun.run`."""
    keep_freed_memory()
    torch.set_num_threads(config.run.threads_per_worker)
    torch.manual_seed(config.seed)
    training = prepare_run(config)
    if training.engine.rank != 0:
        quiet = on_metrics or (lambda step, metrics: None)
        return training.run(lambda progress: None, quiet, ends_soon)
    name = config.typed_method.name
    if training.step:
        say(f"{name}: resuming at step {training.step}")
    tracker = _start_tracker(config, training)

    def on_progress(progress: Progress) -> None:
        rate = {"examples_per_second": progress.examples_per_second}
        tracker.metrics({**progress.metrics, **rate}, progress.step)
        say(progress_line(name, progress))

    def on_checkpoint(step: int, metrics: Mapping[str, float]) -> None:
        tracker.metrics(metrics, step)
        if on_metrics is not None:
            on_metrics(step, metrics)

    try:
        result = training.run(on_progress, on_checkpoint, ends_soon)
        for file, data in config.typed_method.exports(training.final_weights()).items():
            open_storage(config.output).write_bytes(file, data)
    except BaseException:
        tracker.finish("FAILED")
        raise
    tracker.finish()
    return result


def prepare_run(config: TrainConfig) -> TrainingRun:
    """Data, network and engine, at the newest checkpoint, the given start or a random one."""
    data = TrainingData(config, open_shards(config))
    store = CheckpointStore(config.output, config.run.keep_checkpoints)
    checkpoint = store.latest()
    network = config.typed_method.build_network(data.reader.spec, config.model)
    if checkpoint is not None:
        network.load_state_dict(checkpoint.weights)
    elif config.init_from is not None:
        start = load_checkpoint(open_storage(latest_folder(config.init_from)), optimizer=False)
        network.load_state_dict(start.ema or start.weights)
    training = TrainingRun(config, data, _build_engine(config, network), store)
    training.resume(checkpoint)
    return training


def _build_engine(config: TrainConfig, network: torch.nn.Module) -> Engine:
    run = config.run
    world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    batch = BatchPlan.divide(config.batch, world)
    if run.engine == "torch":
        device = f"cuda:{torch.cuda.current_device()}" if run.use_gpu else "cpu"
        return TorchEngine(network, config.optim, batch.accumulation, device)
    from resyn.runtime.deepspeed_engine import DeepSpeedEngine, deepspeed_settings

    if not torch.distributed.is_initialized():
        store = tempfile.mkstemp(prefix="resyn-rendezvous-")[1]
        os.unlink(store)
        os.environ.setdefault("LOCAL_RANK", "0")
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{store}", rank=0, world_size=1
        )
    settings = deepspeed_settings(run, config.optim, batch.micro, batch.accumulation)
    return DeepSpeedEngine(network, config.optim, settings, run.use_gpu)


def _start_tracker(config: TrainConfig, training: TrainingRun) -> Tracker:
    """Open or continue the MLflow run; its id travels in the checkpoints."""
    settings, reader = config.tracking, training.data.reader
    spec = reader.spec
    tags = {
        **source_tags(),
        "resyn.method": config.typed_method.name,
        "resyn.shard_fingerprint": reader.fingerprint,
        "resyn.codec": spec.name,
        "resyn.codec_sha256": spec.weights_sha256,
    }
    tracker = Tracker(tracking_uri(settings.uri), settings.experiment)
    training.run_id = tracker.start(
        params=flatten(config.model_dump(mode="json", exclude={"tracking"})),
        tags=tags,
        run_id=training.run_id,
        run_name=open_storage(config.output).root.rsplit("/", 1)[-1],
        parent_run_id=settings.parent_run_id,
    )
    tracker.metrics(config.typed_method.report(), training.step)
    return tracker


def progress_line(name: str, progress: Progress) -> str:
    """`sb  step 120/400  loss 0.812  14.2 examples/s  ETA 0:31`."""
    figures = "  ".join(f"{key} {value:.4g}" for key, value in progress.metrics.items())
    minutes, seconds = divmod(round(progress.eta_seconds), 60)
    return (
        f"{name}  step {progress.step}/{progress.total_steps}  {figures}  "
        f"{progress.examples_per_second:.1f} examples/s  ETA {minutes}:{seconds:02d}"
    )
