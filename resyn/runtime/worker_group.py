"""A run as a group of Ray Train workers, which is started again whenever some of it is lost."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from resyn.config.train import RunSettings, TrainConfig
from resyn.errors import RunError, UserError
from resyn.runtime.progress import progress_board
from resyn.runtime.ray_cluster import ensure_ray
from resyn.runtime.worker_watch import WorkerWatch, error_line
from resyn.training.observer import Observer

#: Ray's name for how long one attempt at starting a group may wait for its machines.
_START_TIMEOUT = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"

#: Seconds between looks for machines to grow by. Growing starts the group anew from its last
#: checkpoint, which should not happen for every machine that comes.
_GROW_SECONDS = 1800.0


def fit_on_ray(config: TrainConfig, say: Callable[[str], None]) -> None:
    """Train on Ray Train workers, to the end of the run.

    Lost workers and nodes, and nodes about to be taken away, cost a restart of the group from the
    output's last checkpoint. Raises RunError when that happens too often, when workers cannot be
    had in `run.worker_timeout` seconds, and for whatever else ends training.
    """
    run = config.run
    ensure_ray()
    with (
        # Ray Train keeps a snapshot of its own; what matters lies in the output's checkpoints.
        tempfile.TemporaryDirectory(prefix="resyn-train-", ignore_cleanup_errors=True) as scratch,
        progress_board(say) as board,
        _patience(run.worker_timeout),
    ):
        # Ray Train takes callbacks of its controller too, though its types say otherwise.
        watch: list[Any] = [
            WorkerWatch(board, run.worker_range[0], worker_needs(run), run.worker_timeout)
        ]
        trainer = TorchTrainer(
            _work,
            train_loop_config={"config": config.model_dump(mode="json"), "board": board},
            scaling_config=scaling(run),
            torch_config=TorchConfig(backend="nccl" if run.use_gpu else "gloo"),
            run_config=RunConfig(
                name="train",
                storage_path=scratch,
                failure_config=FailureConfig(max_failures=run.max_failures),
                worker_runtime_env={"env_vars": _worker_environment(run)},
                callbacks=watch,
            ),
        )
        try:
            trainer.fit()
        except Exception as error:
            raise RunError(f"{config.output}: training stopped: {_cause(error)}") from error


def scaling(run: RunSettings) -> ScalingConfig:
    """A fixed group of workers, or one between the fewest and the most that the cluster holds."""
    return ScalingConfig(
        num_workers=run.num_workers,
        use_gpu=run.use_gpu,
        resources_per_worker=worker_needs(run),
        elastic_resize_monitor_interval_s=_GROW_SECONDS,
    )


def worker_needs(run: RunSettings) -> dict[str, float]:
    """What a worker takes of its node."""
    return {"CPU": float(run.threads_per_worker), **({"GPU": 1.0} if run.use_gpu else {})}


def _worker_environment(run: RunSettings) -> dict[str, str]:
    """Threads capped, and the choice of accelerator made explicit."""
    environment = {"OMP_NUM_THREADS": str(run.threads_per_worker)}
    if not run.use_gpu:
        environment["DS_ACCELERATOR"] = "cpu"
    return environment


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Let Ray Train look up from its wait for machines often enough to be stopped in time."""
    before = os.environ.get(_START_TIMEOUT)
    os.environ.setdefault(_START_TIMEOUT, str(min(60.0, max(1.0, seconds / 4))))
    try:
        yield
    finally:
        if before is None:
            del os.environ[_START_TIMEOUT]


def _cause(error: Exception) -> str:
    """Why training stopped, in one line; what resyn explains goes before what Ray says."""
    failures = [getattr(error, "controller_failure", error)]
    failures = list(getattr(error, "worker_failures", {}).values()) or failures
    explained = [f for f in failures if isinstance(f, UserError | RunError)]
    return error_line((explained or failures)[0])


def _work(arguments: dict[str, Any]) -> None:
    """The body of one Ray Train worker."""
    from resyn.runtime.ray_train import train_rank

    config = TrainConfig.parse(arguments["config"])
    board = arguments["board"]

    def say(line: str) -> None:
        board.push.remote(line)

    train_rank(config, say, _Group(PreemptionNotice(say)))


class _Group(Observer):
    """What Ray Train wants to hear of every rank, and tells it."""

    def __init__(self, notice: PreemptionNotice) -> None:
        self.notice = notice

    def checkpoint(self, step: int, metrics: Mapping[str, float]) -> None:
        """A barrier: every rank reports at every checkpoint."""
        ray.train.report({"step": step, **metrics})

    def ends_soon(self) -> bool:
        """See `PreemptionNotice`."""
        return self.notice()


class PreemptionNotice:
    """Asked by every rank alike: are machines of this run about to be taken away?

    True once for every set of machines, so that training saves and goes on until they are gone.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.known: list[str] = []

    def __call__(self) -> bool:
        """A barrier: Ray Train agrees on one answer for all ranks."""
        notice = ray.train.get_preemption_info()
        if notice is None or notice.preempted_node_ids == self.known:
            return False
        self.known = notice.preempted_node_ids
        if ray.train.get_context().get_world_rank() == 0:
            nodes = "1 node is" if len(self.known) == 1 else f"{len(self.known)} nodes are"
            self.say(f"{nodes} being taken away: saving a checkpoint")
        return True
