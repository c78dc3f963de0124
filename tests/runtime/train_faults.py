"""What tests of training under faults share: its workers, its checkpoints, its losses."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

STEP = re.compile(r"step (\d+)/\d+ .* loss ([\d.e+-]+)")
#: Bounds a hang; nothing depends on it.
MOST_SECONDS = 1200


def train_workers(process: psutil.Process | None = None) -> list[psutil.Process]:
    """The Ray Train workers below `process`, by default below this one."""
    found = []
    for child in (process or psutil.Process()).children(recursive=True):
        try:
            if "RayTrainWorker" in (child.cmdline() or [""])[0]:
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def wait_for_step(output: Path, step: int) -> None:
    """Until the checkpoint of a step at or after `step` is committed."""
    deadline = time.monotonic() + MOST_SECONDS
    while time.monotonic() < deadline:
        done = [int(file.parent.name[5:]) for file in output.glob("checkpoints/step-*/state.json")]
        if done and max(done) >= step:
            return
        time.sleep(0.02)
    raise TimeoutError(f"no checkpoint of step {step} in {output}")


@contextmanager
def killer(output: Path, step: int, rank: int) -> Iterator[list[int]]:
    """Within the block, one worker below this process dies once `step` is saved; its id."""
    killed: list[int] = []

    def kill() -> None:
        wait_for_step(output, step)
        victim = sorted(train_workers(), key=lambda process: process.pid)[rank]
        victim.send_signal(signal.SIGKILL)
        killed.append(victim.pid)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    yield killed
    thread.join(MOST_SECONDS)


def steps_of(lines: list[str]) -> list[int]:
    """The steps that the progress lines tell, in order, repeated ones included."""
    found = (STEP.search(line) for line in lines)
    return [int(match.group(1)) for match in found if match]


def losses_of(lines: list[str]) -> list[float]:
    """The losses that the progress lines tell, in order."""
    found = (STEP.search(line) for line in lines)
    return [float(match.group(2)) for match in found if match]
