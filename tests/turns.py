"""Groups of processes that take turns at their work, so that the machine's moods meet them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch.distributed as dist

POLL_SECONDS, PATIENCE_SECONDS = 0.005, 120.0


def serve(folder: Path, group: str, work: Callable[[], object]) -> None:
    """In every process of `group`: do `work` whenever it is the group's turn, until the end.

    Rank 0 says when the whole group is ready and how long a turn took, barriers included.
    """
    rank, turn = dist.get_rank(), 0
    work()
    dist.barrier()
    if rank == 0:
        _write(folder / f"ready-{group}", "")
    while wait_for(folder / f"go-{group}-{turn}", folder / "stop"):
        begun = time.perf_counter()
        work()
        dist.barrier()
        if rank == 0:
            _write(folder / f"done-{group}-{turn}", str(time.perf_counter() - begun))
        turn += 1


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
