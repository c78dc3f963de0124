"""`map` on Ray: ordered and lazy, by tasks or by processes that stay."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError

from resyn.errors import RunError
from resyn.runtime.ray_cluster import ensure_ray

Item = TypeVar("Item")
Made = TypeVar("Made")

#: Items in flight per CPU: enough that no worker waits for the slowest, few enough to hold.
_AHEAD = 4


class RayMap:
    """A `ParallelMap` on the running Ray, or on one started here with `num_cpus`.

    One CPU and one thread per item.
    """

    def __init__(self, num_cpus: int | None = None) -> None:
        self._num_cpus = num_cpus

    def __call__(
        self, function: Callable[[Item], Made], items: Iterable[Item], /
    ) -> Iterator[Made]:
        """The values of a module-level `function`, in the order of `items`.

        Raises RunError when a task fails or is lost for good.
        """
        pending: deque[Any] = deque()
        task: Any = None
        limit = 1
        for item in items:
            if task is None:  # no item, no cluster
                ensure_ray(self._num_cpus)
                task = ray.remote(num_cpus=1, max_retries=2)(_single_threaded)
                limit = _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
            pending.append(task.remote(function, item))
            if len(pending) >= limit:
                yield _value(pending.popleft())
        while pending:
            yield _value(pending.popleft())


class RayActorMap:
    """A `ParallelMap` on processes that live as long as this object.

    What a function keeps in its process, such as a model, is made once in each. There are `count`
    of them, by default as many as there are CPUs, or GPUs where each takes `num_gpus`, and as
    memory holds: an item may say in bytes, as `memory`, what its process needs. They hold no CPU
    while they wait, so tasks can run in between.
    """

    def __init__(
        self, num_cpus: int | None = None, count: int | None = None, num_gpus: float = 0.0
    ) -> None:
        self._num_cpus, self._count, self._num_gpus = num_cpus, count, num_gpus
        self._workers: list[Any] = []

    def __call__(
        self, function: Callable[[Item], Made], items: Iterable[Item], /
    ) -> Iterator[Made]:
        """The values of a module-level `function`, in the order of `items`.

        Raises RunError when a process is lost for good, or `function` raises.
        """
        pending: deque[Any] = deque()
        for position, item in enumerate(items):
            if not self._workers:  # no item, no cluster
                self._workers = self._start(getattr(item, "memory", 0))
            worker = self._workers[position % len(self._workers)]
            pending.append(worker.call.remote(function, item))
            if len(pending) >= 2 * len(self._workers):
                yield _value(pending.popleft())
        while pending:
            yield _value(pending.popleft())

    def _start(self, memory: int) -> list[Any]:
        ensure_ray(self._num_cpus)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        room = [places(node, memory, self._num_gpus) for node in nodes]
        count = self._count or max(1, sum(room))
        # Where memory allows for few processes only, each may use the CPUs of those left out.
        threads = max(1, int(sum(node.get("CPU", 0) for node in nodes)) // count)
        held = min(memory, int(max(node.get("memory", 0) for node in nodes)))
        kind: Any = ray.remote(
            num_cpus=0, num_gpus=self._num_gpus, memory=held, max_restarts=2, max_task_retries=2
        )(_Worker)
        return [kind.remote(threads) for _ in range(count)]


def places(node: Mapping[str, float], memory: int, num_gpus: float) -> int:
    """Processes of `memory` bytes and `num_gpus` that a node with these resources can hold."""
    most = node.get("GPU", 0) // num_gpus if num_gpus else node.get("CPU", 0)
    return int(min(most, node.get("memory", 0) // memory) if memory else most)


class _Worker:
    """A process that calls functions with `threads` threads of torch."""

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def call(self, function: Callable[[Any], Any], item: Any) -> Any:
        """The value of `function` for `item`."""
        import torch

        torch.set_num_threads(self._threads)
        return function(item)


def _single_threaded(function: Callable[[Any], Any], item: Any) -> Any:
    """Ray caps OpenMP for new workers only; this one may have run something else before."""
    import torch

    torch.set_num_threads(1)
    return function(item)


def _value(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except RayError as error:
        last = str(error).strip().splitlines()[-1]
        raise RunError(f"a task on Ray failed: {last}") from error
