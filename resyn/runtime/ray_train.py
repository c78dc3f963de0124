"""Training on Ray Train workers, or in this process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from resyn.config.train import TrainConfig
from resyn.data.shards import ShardReader
from resyn.errors import RunError
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
from resyn.training.data import BatchPlan, TrainingData
from resyn.training.engine import Engine, TorchEngine
from resyn.training.loop import TrainingRun, TrainResult
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
        config = _resolved(config)
        tell_pending(config, plan.reader, result.run_id, say)
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
    """Absolute places, because workers run elsewhere, and a tracking store that exists."""
    uri = tracking_uri(config.tracking.uri)
    prepare_store(uri)
    named = [name for name in ("shards", "output", "init_from") if getattr(config, name)]
    places = {name: open_storage(getattr(config, name)).uri for name in named}
    tracking = config.tracking.model_copy(update={"uri": uri})
    return config.model_copy(update={**places, "tracking": tracking})


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
    keep_freed_memory()
    torch.set_num_threads(config.run.threads_per_worker)
    torch.manual_seed(config.seed)
    training = prepare_run(config)
    if training.engine.rank != 0:
        return training.run(lambda progress: None, on_metrics or (lambda step, metrics: None))
    name = config.typed_method.name
    for fault in training.store.faults:
        say(f"{name}: {fault}")
    if training.step:
        say(f"{name}: resuming at step {training.step}")
    spec = training.data.reader.spec
    training.listener, reason = estoi_listener(config, spec, training.engine.device)
    if reason:
        say(f"{name}: validations without ESTOI: {reason}")
    recorder = RunRecorder(config, training, say)
    try:
        result = training.run(
            recorder.progress,
            on_metrics or (lambda step, metrics: None),
            recorder.validation,
            recorder.before_save,
        )
        for file, data in config.typed_method.exports(training.final_weights()).items():
            open_storage(config.output).write_bytes(file, data)
    except BaseException:
        recorder.close("FAILED")
        raise
    return replace(result, run_id=recorder.close())


def prepare_run(config: TrainConfig) -> TrainingRun:
    """Data, network and engine, at the newest checkpoint, the given start or a random one."""
    data = TrainingData(config, ShardReader(config.shards))
    store = _store(config)
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
