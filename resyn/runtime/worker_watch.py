"""What happens to the workers of a run: waiting for them, losing them, giving up."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import ray
import ray.exceptions
from ray.train.v2._internal.execution.callback import ControllerCallback, WorkerGroupCallback
from ray.train.v2._internal.execution.controller.state import (
    InitializingState,
    ReschedulingState,
    RestartingState,
    SchedulingState,
)

from resyn.errors import PassingFault, RunError, UserError
from resyn.storage_faults import first_line

_WAITING = (InitializingState, SchedulingState, ReschedulingState, RestartingState)
#: Seconds between looks at the cluster. Ray's own loop would not pause at all.
_PAUSE = 0.25
#: Seconds after which a start that should succeed is taken to wait for others' jobs.
_BUSY = 60.0
#: Where Ray Train's exception for a dead worker keeps what was found.
_DEATH = "health_check_failure"
_SHOWN = ("CPU", "GPU")


class WorkerWatch(ControllerCallback, WorkerGroupCallback):
    """Lives in Ray Train's controller and speaks through the progress board.

    Says what is missing while a group of workers cannot start, and ends the run when that lasts
    `timeout` seconds. Says when workers are lost. Ends the run at once on an error that resyn
    itself explains, which would only come again; all others, and a PassingFault, are Ray Train's
    to retry.
    """

    def __init__(self, board: Any, workers: int, needs: Mapping[str, float], timeout: float):
        self.board, self.workers, self.needs, self.timeout = board, workers, needs, timeout
        self.since: float | None = None
        self.said = False

    def after_controller_state_update(self, previous_state: Any, current_state: Any) -> None:
        """Ray Train's hook, after every turn of its loop."""
        if not isinstance(current_state, _WAITING):
            self.since, self.said = None, False
            return
        now = time.monotonic()
        self.since = self.since or now
        if type(previous_state) is type(current_state):
            time.sleep(_PAUSE)
        waited = now - self.since
        line = self.missing() or (self.taken() if waited > _BUSY or waited > self.timeout else "")
        if line and waited > self.timeout:
            raise RunError(f"no workers in {self.timeout:g} s (run.worker_timeout): {line}")
        if line and not self.said:
            self.say(f"waiting for {line}; giving up in {self.timeout:g} s (run.worker_timeout)")
            self.said = True

    def after_worker_group_poll_status(self, worker_group_status: Any) -> None:
        """Ray Train's hook, every two seconds while workers run."""
        errors: dict[int, Exception] = worker_group_status.errors
        for error in errors.values():
            if isinstance(error, UserError | RunError) and not isinstance(error, PassingFault):
                raise error
        if errors:
            # Of a worker that died and of those that noticed, the first is the cause.
            died = {r: e for r, e in errors.items() if hasattr(e, _DEATH)}
            rank, error = min((died or errors).items(), key=lambda item: item[0])
            self.say(f"lost worker {rank} ({error_line(error)})")

    def missing(self) -> str:
        """What is asked for and what there is, when the cluster has no room; else empty."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        room = sum(capacity(node, self.needs) for node in nodes)
        if room >= self.workers:
            return ""
        total = {key: sum(node.get(key, 0) for node in nodes) for key in _SHOWN}
        return (
            f"{self.wanted}: the cluster has {amounts(total)} on {len(nodes)} "
            f"{'node' if len(nodes) == 1 else 'nodes'}, room for {room}; add nodes or lower "
            "--num-workers or run.threads_per_worker"
        )

    def taken(self) -> str:
        """What is free of a cluster that is large enough."""
        free = ray.available_resources()
        shown = amounts({key: free.get(key, 0) for key in _SHOWN})
        return f"{self.wanted}: the cluster has room, but others use it and leave {shown}"

    @property
    def wanted(self) -> str:
        """The group that is asked for."""
        return f"{self.workers} workers of {amounts(self.needs)} each"

    def say(self, line: str) -> None:
        """A line for the driver's terminal."""
        self.board.push.remote(line)


def capacity(node: Mapping[str, float], needs: Mapping[str, float]) -> int:
    """How many workers that need `needs` a node with `node` resources can hold."""
    return int(min(node.get(key, 0) // amount for key, amount in needs.items() if amount))


def amounts(resources: Mapping[str, float]) -> str:
    """`16 CPU and 2 GPU`."""
    return " and ".join(f"{amount:g} {name}" for name, amount in resources.items())


def error_line(error: BaseException) -> str:
    """A worker's death or a controller's failure in one line."""
    error = getattr(error, _DEATH, error)
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return "OutOfMemoryError: a node's memory ran out; put fewer workers on a node"
    if isinstance(error, ray.exceptions.RayError):
        return type(error).__name__
    return first_line(error)
