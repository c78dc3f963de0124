"""Groups of processes that take turns at their work, so that the machine's moods meet them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch.distributed as dist

POLL_SECONDS, PATIENCE_SECONDS = 0.005, 120.0


class TurnTaker:
    """A process of `group`, whose turns lie between two calls of `end_and_wait`.

    Rank 0 says when the whole group is ready and how long a turn took, barriers included.
    """

    def __init__(self, folder: Path, group: str) -> None:
        self.folder, self.group, self.turn = folder, group, -1
        self._begun = 0.0

    def end_and_wait(self) -> bool:
        """End a turn, the first of which warms up; True at the next, False when there is none."""
        dist.barrier()
        if dist.get_rank() == 0:
            taken = str(time.perf_counter() - self._begun)
            last = f"done-{self.group}-{self.turn}" if self.turn >= 0 else f"ready-{self.group}"
            _write(self.folder / last, taken)
        self.turn += 1
        more = wait_for(self.folder / f"go-{self.group}-{self.turn}", self.folder / "stop")
        self._begun = time.perf_counter()
        return more


def serve(folder: Path, group: str, work: Callable[[], object]) -> None:
    """In every process of `group`: do `work` whenever it is the group's turn, until the end."""
    taker = TurnTaker(folder, group)
    work()
    while taker.end_and_wait():
        work()


def take_turns(folder: Path, groups: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Give each of `groups` a turn in each round; the seconds that the turns took."""
    seconds: dict[str, list[float]] = {group: [] for group in groups}
    try:
        for group in groups:
            wait_for(folder / f"ready-{group}")
        for number in range(rounds):
            for group in groups:
                _write(folder / f"go-{group}-{number}", "")
                wait_for(folder / f"done-{group}-{number}")
                seconds[group].append(float((folder / f"done-{group}-{number}").read_text()))
    finally:
        _write(folder / "stop", "")
    return seconds


def wait_for(file: Path, stop: Path | None = None) -> bool:
    """Until `file` is there (True) or `stop` is (False). Raises TimeoutError after minutes."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not file.exists():
        if stop is not None and stop.exists():
            return False
        if time.monotonic() > end:
            raise TimeoutError(f"nobody wrote {file}")
        time.sleep(POLL_SECONDS)
    return True


def _write(file: Path, text: str) -> None:
    """All at once: a reader never sees half of it."""
    part = file.with_name(f"{file.name}.part")
    part.write_text(text)
    part.rename(file)
