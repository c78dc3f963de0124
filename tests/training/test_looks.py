"""Ranks look up from training every few seconds, all at the same steps."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

from resyn.training.looks import Looks

CPU = torch.device("cpu")


class Clock:
    """Shows what it was moved to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def looks_of(
    steps: int, seconds: float, world_size: int = 1, save_at: int | None = None
) -> list[tuple[int, float]]:
    """At which of `steps` steps of `seconds` each one looked, and the unsaved seconds found."""
    clock = Clock()
    looks, found = Looks(0, world_size, CPU, 5.0, clock), []
    for step in range(1, steps + 1):
        clock.now += seconds
        if looks.due(step):
            found.append((step, looks.look(step)))
        if step == save_at:
            looks.saved()
    return found


@pytest.mark.parametrize(("seconds", "gap"), [(8.0, 1), (2.0, 2), (0.5, 10), (0.125, 40)])
def test_the_gap_comes_to_be_as_long_as_asked(seconds: float, gap: int):
    steps = [step for step, _ in looks_of(400, seconds)]
    assert steps[0] == 1
    assert {b - a for a, b in pairwise(steps[8:])} == {gap}
    assert all(b - a <= gap for a, b in pairwise(steps))


def test_time_counts_from_the_last_checkpoint():
    found = dict(looks_of(10, 8.0, save_at=4))
    assert found == {step: 8.0 * (step if step <= 4 else step - 4) for step in range(1, 11)}


def rank_of_two(rank: int, rendezvous: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    mine = looks_of(60, (0.25, 1.0)[rank], 2)
    assert mine == looks_of(60, 1.0)
    dist.destroy_process_group()


def test_ranks_agree_by_the_slowest(tmp_path: Path):
    multiprocessing.spawn(rank_of_two, (str(tmp_path / "rendezvous"),), nprocs=2)
