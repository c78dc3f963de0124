"""The first step that went wrong is named, whenever one looks, and on every rank alike."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

from resyn.errors import PassingFault
from resyn.training.finite import LossWatch
from resyn.training.ranks import require_same_step


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("first", [1, 4, 9])
def test_the_first_bad_loss_is_remembered(bad: float, first: int):
    watch = LossWatch()
    for step in range(1, 10):
        watch.note(step, torch.tensor(bad if step == first else math.nan if step > first else 1.0))
    step, loss = watch.first_bad(world_size=1) or (0, 0.0)
    assert step == first
    assert loss == bad or (math.isnan(bad) and math.isnan(loss))


def test_finite_losses_are_no_reason_to_stop():
    watch = LossWatch()
    assert watch.first_bad(world_size=1) is None
    for step in range(5):
        watch.note(step, torch.tensor(1e38))
    assert watch.first_bad(world_size=1) is None


def rank_of_two(rank: int, rendezvous: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    watch, bad_from = LossWatch(), (5, 3)[rank]
    for step in range(1, 8):
        watch.note(step, torch.tensor(math.inf if step >= bad_from else 1.0))
        assert watch.first_bad(2) == (None if step < 3 else (3, math.inf)), step
    cpu = torch.device("cpu")
    require_same_step(6, 2, cpu, "out")
    with pytest.raises(PassingFault, match=r"out: the workers read different .* steps 3 and 6"):
        require_same_step((6, 3)[rank], 2, cpu, "out")
    dist.destroy_process_group()


def test_two_ranks_agree_on_what_went_wrong_and_where_they_are(tmp_path: Path):
    multiprocessing.spawn(rank_of_two, (str(tmp_path / "rendezvous"),), nprocs=2)
