"""Laws of the bridge's closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from resyn.schedules.bridge import BridgeSchedule

MODES = ("i2sb", "true_peak")


@pytest.mark.parametrize("mode", MODES)
def test_beta_is_symmetric_and_positive(mode):
    betas = BridgeSchedule(mode).betas
    assert betas.dtype == np.float64
    assert np.array_equal(betas, betas[::-1])
    assert (betas > 0).all()


def test_variance_at_the_ends():
    # Figures of the I2SB code base's flag, computed from its formula (field notes; mode i2sb)
    # and of a ramp that truly reaches 0.3.
    assert BridgeSchedule("i2sb").total_variance == pytest.approx(0.14103, abs=1e-4)
    assert BridgeSchedule("true_peak").total_variance == pytest.approx(0.19109, abs=1e-4)
    assert BridgeSchedule("true_peak").betas.max() * 1000 == pytest.approx(0.3)


@pytest.mark.parametrize("mode", MODES)
def test_marginal_is_pinned_at_x1_and_tight_at_x0(mode):
    schedule = BridgeSchedule(mode)
    assert schedule.marginal(999) == (0.0, 1.0, 0.0)
    first = schedule.marginal(0)
    assert first.weight_x0 == pytest.approx(1 - schedule.betas[0] / schedule.total_variance)
    assert first.std < 0.011


@pytest.mark.parametrize("mode", MODES)
def test_posterior_carries_one_marginal_into_another(mode):
    """q(x_m | x0, x1) is the integral of q(x_m | x_n, x0) q(x_n | x0, x1) over x_n."""
    schedule = BridgeSchedule(mode, beta_max=0.7, num_steps=200)
    for step in range(1, 200, 7):
        outer = schedule.marginal(step)
        for previous in range(0, step, 5):
            inner = schedule.posterior(step, previous)
            expected = schedule.marginal(previous)
            weight_x0 = inner.weight_x0 + inner.weight_other * outer.weight_x0
            weight_x1 = inner.weight_other * outer.weight_other
            std = (inner.std**2 + (inner.weight_other * outer.std) ** 2) ** 0.5
            assert (weight_x0, weight_x1, std) == pytest.approx(expected, abs=1e-12)


def test_weights_sum_to_one():
    schedule = BridgeSchedule()
    for step in range(1, 1000, 37):
        assert sum(schedule.marginal(step)[:2]) == pytest.approx(1)
        assert sum(schedule.posterior(step, step // 2)[:2]) == pytest.approx(1)


def test_grid_is_the_papers():
    schedule = BridgeSchedule()
    assert schedule.grid(1) == [0, 999]
    assert schedule.grid(4) == [0, 250, 500, 749, 999]
    assert schedule.grid(7) == [0, 143, 285, 428, 571, 714, 856, 999]
    assert schedule.grid(999) == list(range(1000))
    assert schedule.grid(1000) == [-1, *range(1000)]


@pytest.mark.parametrize("nfe", [0, -1, 1001])
def test_grid_refuses_what_the_schedule_cannot_hold(nfe):
    with pytest.raises(ValueError, match="nfe"):
        BridgeSchedule().grid(nfe)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [({"num_steps": 7}, "even"), ({"beta_max": 0.0}, "beta_max"), ({"mode": "x"}, "mode")],
)
def test_wrong_schedules_are_refused(arguments, word):
    with pytest.raises(ValueError, match=word):
        BridgeSchedule(**arguments)
