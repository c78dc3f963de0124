"""The first step that went wrong is named, whenever one looks."""

from __future__ import annotations

import math

import pytest
import torch

from resyn.training.finite import LossWatch


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
