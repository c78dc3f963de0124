"""Progress lines from remote workers to the driver's terminal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


@ray.remote(num_cpus=0)
class ProgressBoard:
    """Holds lines until the driver fetches them."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def push(self, line: str) -> None:
        """Add a line."""
        self.lines.append(line)

    def pull(self) -> list[str]:
        """Take all lines."""
        lines, self.lines = self.lines, []
        return lines


@contextmanager
def progress_board(say: Callable[[str], None], interval: float = 0.5) -> Iterator[Any]:
    """A board whose lines go to `say` here, every `interval` seconds, until the block ends.

    It stands on this process's node, so that the loss of another one takes no line away.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    board: Any = ProgressBoard.options(scheduling_strategy=here).remote()  # pyright: ignore[reportFunctionMemberAccess]
    done = threading.Event()

    def drain() -> None:
        for line in ray.get(board.pull.remote()):
            say(line)

    def watch() -> None:
        while not done.wait(interval):
            drain()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield board
    finally:
        done.set()
        watcher.join()
        drain()
        ray.kill(board)
