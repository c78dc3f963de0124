"""Training on Ray Train workers, or in this process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from resyn.config.base import flatten
from resyn.config.train import TrainConfig
from resyn.data.shards import ShardReader
from resyn.errors import RunError
from resyn.runtime.engines import build_engine, with_measured_batch
from resyn.runtime.memory import keep_freed_memory
from resyn.runtime.tracking import Tracker, prepare_store, source_tags, tracking_uri
from resyn.storage import open_storage
from resyn.training.checkpoint import CheckpointStore, latest_folder, load_checkpoint
from resyn.training.data import TrainingData
from resyn.training.loop import Progress, TrainingRun, TrainResult
from resyn.training.plan import plan_training
from resyn.training.profile import StepProfiler
from resyn.training.speed import in_words
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
        say(f"nothing to do: {config.output} is complete at step {result.step}")
        return result
    config = _resolved(config)
    if config.run.num_workers == 0:
        return train_in_process(config, say=say)
    return _fit_on_ray(config, say)


def train_in_process(
    config: TrainConfig, on_metrics: OnMetrics | None = None, say: Say = print
) -> TrainResult:
    """Train in this process, on one device and without Ray, with either engine.

    `on_metrics(step, metrics)` is called at every checkpoint.
    """
    config = _resolved(config)
    return _train(config, say, on_metrics)


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
    store = CheckpointStore(config.output)
    state = store.latest_state() or {}
    checkpoint = store.uri(store.folders()[-1])
    return TrainResult(state["step"], state["metrics"], checkpoint, state.get("mlflow_run_id"))


def _fit_on_ray(config: TrainConfig, say: Say) -> TrainResult:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from resyn.runtime.progress import progress_board
    from resyn.runtime.ray_cluster import ensure_ray

    run = config.run
    ensure_ray()
    cpus = {"CPU": run.threads_per_worker} | ({"GPU": 1} if run.use_gpu else {})
    # Ray Train keeps a snapshot of its own; what matters lies in the output's checkpoints.
    scratch = tempfile.mkdtemp(prefix="resyn-train-")
    with progress_board(say) as board:
        trainer = TorchTrainer(
            _ray_worker,
            train_loop_config={"config": config.model_dump(mode="json"), "board": board},
            scaling_config=ScalingConfig(
                num_workers=run.num_workers, use_gpu=run.use_gpu, resources_per_worker=cpus
            ),
            torch_config=TorchConfig(backend="nccl" if run.use_gpu else "gloo"),
            run_config=RunConfig(
                name="train",
                storage_path=scratch,
                failure_config=FailureConfig(max_failures=run.max_failures),
                worker_runtime_env={"env_vars": _worker_environment(config)},
            ),
        )
        try:
            trainer.fit()
        except Exception as error:
            cause = str(getattr(error, "__cause__", None) or error).strip().splitlines()
            raise RunError(
                f"{config.output}: training stopped: {cause[-1] if cause else error}"
            ) from error
    return _finished(config)


def _worker_environment(config: TrainConfig) -> dict[str, str]:
    """Threads capped, and the choice of accelerator made explicit."""
    environment = {"OMP_NUM_THREADS": str(config.run.threads_per_worker)}
    if not config.run.use_gpu:
        environment["DS_ACCELERATOR"] = "cpu"
    return environment


def _ray_worker(arguments: dict[str, Any]) -> None:
    """The body of one Ray Train worker."""
    import ray.train

    config = TrainConfig.parse(arguments["config"])
    board = arguments["board"]

    def say(line: str) -> None:
        board.push.remote(line)

    def on_metrics(step: int, metrics: Mapping[str, float]) -> None:
        # A barrier: every rank reports at every checkpoint.
        ray.train.report({"step": step, **metrics})

    _train(config, say, on_metrics)


def _train(config: TrainConfig, say: Say, on_metrics: OnMetrics | None) -> TrainResult:
    """One rank, from its shards to its last checkpoint."""
    begun = time.perf_counter()
    keep_freed_memory()
    torch.set_num_threads(config.run.threads_per_worker)
    torch.manual_seed(config.seed)
    training = prepare_run(config)
    if training.engine.rank != 0:
        return training.run(lambda progress: None, on_metrics or (lambda step, metrics: None))
    name = config.typed_method.name
    if training.step:
        say(f"{name}: resuming at step {training.step}")
    tracker = _start_tracker(config, training)

    begins = [begun]
    if config.run.profile:
        device = training.engine.device
        training.stepping.parts = StepProfiler(config.run.profile, device, config.output, say)

    def on_progress(progress: Progress) -> None:
        once = {"seconds_to_first_step": training.first_step_at - begins.pop()} if begins else {}
        progress = replace(progress, rates={**progress.rates, **once})
        tracker.metrics({**progress.metrics, **progress.rates}, progress.step)
        say(progress_line(name, progress))

    def on_checkpoint(step: int, metrics: Mapping[str, float]) -> None:
        tracker.metrics(metrics, step)
        if on_metrics is not None:
            on_metrics(step, metrics)

    try:
        result = training.run(on_progress, on_checkpoint)
        for file, data in config.typed_method.exports(training.final_weights()).items():
            open_storage(config.output).write_bytes(file, data)
    except BaseException:
        tracker.finish("FAILED")
        raise
    tracker.finish()
    return result


def prepare_run(config: TrainConfig) -> TrainingRun:
    """Data, network and engine, at the newest checkpoint, the given start or a random one."""
    data = TrainingData(config, ShardReader(config.shards))
    store = CheckpointStore(config.output, config.run.keep_checkpoints)
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
    """`sb  step 120/400  loss 0.812  14.2 examples/s  0.00789 audio-h/s  ETA 0:31`."""
    figures = "  ".join(f"{key} {value:.4g}" for key, value in progress.metrics.items())
    minutes, seconds = divmod(round(progress.eta_seconds), 60)
    return (
        f"{name}  step {progress.step}/{progress.total_steps}  {figures}  "
        f"{in_words(progress.rates)}  ETA {minutes}:{seconds:02d}"
    )
