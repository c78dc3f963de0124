"""`map` on Ray: ordered, lazy, one CPU and one thread per item."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
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
    """A `ParallelMap` on the running Ray, or on one started here with `num_cpus`."""

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
