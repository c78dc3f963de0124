"""Chains of stages, each resuming by itself, with headings and a clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

#: A heading and what it does.
Stage = tuple[str, Callable[[], object]]


def run_stages(stages: Sequence[Stage]) -> None:
    """All stages; one that is complete says so and costs nothing."""
    started = time.perf_counter()
    for number, (title, stage) in enumerate(stages, start=1):
        begun = time.perf_counter()
        say(f"\n[{number}/{len(stages)}] {title}")
        stage()
        now = time.perf_counter()
        say(f"      {_clock(now - begun)}, {_clock(now - started)} in all")


def list_stages(stages: Sequence[Stage]) -> list[str]:
    """The headings, numbered, for `--dry-run`."""
    return [f"{number}. {title}" for number, (title, _) in enumerate(stages, start=1)]


def say(line: str) -> None:
    """Print at once, so that progress shows in a pipe too."""
    print(line, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
