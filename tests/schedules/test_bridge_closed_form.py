"""The schedule's tables against an independent computation from the paper's equations."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from resyn.schedules.bridge import BridgeSchedule
from tests.schedules.bridge_reference import ReferenceBridge

SETTINGS = [("i2sb", 0.3, 1000), ("true_peak", 0.3, 1000), ("i2sb", 1.0, 100), ("true_peak", 3, 60)]


@pytest.mark.parametrize(("mode", "beta_max", "num_steps"), SETTINGS)
def test_tables_and_marginal_are_equation_6(mode, beta_max, num_steps):
    schedule = BridgeSchedule(mode, beta_max, num_steps)
    reference = ReferenceBridge(mode, beta_max, num_steps)
    np.testing.assert_allclose(schedule.betas, reference.betas, rtol=1e-12)
    assert schedule.total_variance == pytest.approx(reference.before(num_steps - 1), rel=1e-12)
    for step in range(0, num_steps, 7):
        assert schedule.std(step) == pytest.approx(reference.before(step) ** 0.5, rel=1e-12)
        assert schedule.marginal(step) == pytest.approx(reference.marginal(step), abs=1e-9)


@pytest.mark.parametrize(("mode", "beta_max", "num_steps"), SETTINGS)
def test_posterior_is_bayes_rule(mode, beta_max, num_steps):
    schedule = BridgeSchedule(mode, beta_max, num_steps)
    reference = ReferenceBridge(mode, beta_max, num_steps)
    for step in range(1, num_steps, 11):
        for previous in range(0, step, 13):
            expected = reference.posterior(step, previous)
            assert schedule.posterior(step, previous) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("spacing", ["uniform", "quadratic", "sigma"])
def test_every_grid_rises_from_the_first_to_the_last_step(spacing):
    for mode, num_steps in (("i2sb", 1000), ("true_peak", 20)):
        schedule = BridgeSchedule(mode, num_steps=num_steps)
        for nfe in {1, 2, 3, 7, 16, num_steps // 2, num_steps - 2, num_steps - 1}:
            if nfe < num_steps:
                steps = schedule.grid(nfe, spacing)
                assert (len(steps), steps[0], steps[-1]) == (nfe + 1, 0, num_steps - 1)
                assert all(later > earlier for earlier, later in pairwise(steps))


def test_grids_are_spaced_as_they_say():
    schedule = BridgeSchedule()
    assert schedule.grid(3, "quadratic") == [0, 111, 444, 999]
    gaps = np.diff([schedule.std(step) for step in schedule.grid(10, "sigma")])
    assert gaps == pytest.approx(gaps.mean(), rel=0.02)
    with pytest.raises(ValueError, match="spacing"):
        schedule.grid(3, "cubic")  # pyright: ignore[reportArgumentType]
