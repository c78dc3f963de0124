"""The bridge's method against the paper's equations: what it shows the network, and its walks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from resyn.methods.schroedinger_bridge import SchroedingerBridge
from resyn.randomness import SampleRandom
from resyn.sampling.bridge import walk_bridge
from resyn.schedules.bridge import BridgeSchedule
from resyn.types import LatentBatch, LatentSpace
from tests.schedules.bridge_reference import ReferenceBridge

X0, X1 = 0.8, -0.5
DRAWS = 100_000
#: Four standard errors: with the seeds fixed, a right formula lies within and stays there.
BOUND = 4.0


def two_points(items: int, frames: int, dim: int = 1) -> LatentBatch:
    """Latents that are X0 everywhere, with a codebook whose only code is X1."""
    space = LatentSpace(torch.full((1, 1, dim), X1), torch.zeros(dim), torch.ones(dim))
    codes = torch.zeros(items, 1, frames, dtype=torch.int64)
    return LatentBatch(torch.full((items, frames, dim), X0), codes, space)


def assert_normal(draws: Tensor, mean: float, std: float) -> None:
    """`draws` have this mean and variance, within the standard errors of a normal's."""
    draws = draws.double().flatten()
    count = len(draws)
    assert count >= DRAWS
    assert abs(float(draws.mean()) - mean) < BOUND * std / math.sqrt(count)
    assert abs(float(draws.var()) - std**2) < BOUND * std**2 * math.sqrt(2 / (count - 1))


@pytest.mark.parametrize("mode", ["i2sb", "true_peak"])
def test_what_training_shows_is_distributed_as_equation_6(mode):
    method = SchroedingerBridge(mode=mode, latent_scale=1.5)
    seen = {}

    def network(xt, t, cond, mask, random):
        seen.update(xt=xt, t=t, cond=cond)
        return torch.zeros_like(xt)

    method.loss(network, two_points(4, 1000, 100), SampleRandom(range(4)))
    assert len(set(seen["t"].tolist())) == 4
    assert torch.equal(seen["cond"], torch.full((4, 1000, 100), 1.5 * X1))
    reference = ReferenceBridge(mode)
    for xt, t in zip(seen["xt"], seen["t"], strict=True):
        weight_x0, weight_x1, std = reference.marginal(round(float(t) * 1000) - 1)
        assert_normal(xt, 1.5 * (weight_x0 * X0 + weight_x1 * X1), std)


def test_the_target_is_equation_6_squared():
    method = SchroedingerBridge()
    seen = {}

    def network(xt, t, cond, mask, random):
        seen.update(xt=xt, t=t)
        return torch.tanh(3 * xt)

    loss = method.loss(network, two_points(6, 20), SampleRandom(range(6))).per_item
    reference = ReferenceBridge()
    for item, t in enumerate(seen["t"]):
        sigma = math.sqrt(reference.before(round(float(t) * 1000) - 1))
        values = seen["xt"][item].flatten().tolist()
        errors = [(math.tanh(3 * x) - (x - X0) / sigma) ** 2 for x in values]
        assert float(loss[item]) == pytest.approx(math.fsum(errors) / len(errors), rel=1e-4)


@pytest.mark.parametrize(("step", "previous"), [(999, 500), (999, 1), (400, 399), (300, 20)])
def test_a_step_of_the_walk_is_distributed_as_the_posterior(step, previous):
    random = SampleRandom([3])
    seen = []

    def predict_x0(xt: Tensor, at: int) -> Tensor:
        seen.append(xt)
        return torch.full_like(xt, X0)

    start = torch.full((1, 1000, 100), X1)
    walk_bridge(
        predict_x0, start, [0, previous, step], BridgeSchedule(), lambda: random.normal(1000, 100)
    )
    weight_x0, weight_xt, std = ReferenceBridge().posterior(step, previous)
    assert torch.equal(seen[0], start)
    assert_normal(seen[1], weight_x0 * X0 + weight_xt * X1, std)


@pytest.mark.parametrize("mode", ["i2sb", "true_peak"])
@pytest.mark.parametrize("nfe", [1, 4, 7, 32])
@pytest.mark.parametrize("grid", ["uniform", "quadratic", "sigma"])
def test_deterministic_walk_is_the_papers(mode, nfe, grid):
    """With a network that is wrong, and curved in x and t, so that every step's error shows."""
    method = SchroedingerBridge(mode=mode, ode=True, grid=grid, beta_max=0.7)

    def network(xt, t, cond, mask):
        return torch.tanh(2 * xt + t[:, None, None]) + 0.1 * xt**2

    made = method.resynthesize(network, two_points(2, 3).condition(1), nfe, SampleRandom([0, 1]))
    expected = ReferenceBridge(mode, 0.7).walk(
        lambda x, t: math.tanh(2 * x + t) + 0.1 * x**2, X1, method.schedule.grid(nfe, grid)
    )
    assert torch.allclose(made.double(), torch.tensor(expected).double(), atol=1e-5)


def test_two_passes_make_the_guided_estimate():
    """Guidance g: ε without the condition, plus g times what the condition adds."""
    calls = []

    def network(xt, t, cond, mask):
        calls.append(cond)
        return 0.3 * xt + 2.0 * cond

    def walk(guidance: float) -> Tensor:
        calls.clear()
        method = SchroedingerBridge(ode=True, guidance=guidance, condition_dropout=0.1)
        return method.resynthesize(network, two_points(1, 2).condition(1), 3, SampleRandom([0]))

    reference, steps = ReferenceBridge(), BridgeSchedule().grid(3)
    for guidance, passes in ((1.0, 1), (0.0, 2), (2.5, 2)):
        made = walk(guidance)
        expected = reference.walk(lambda x, t, g=guidance: 0.3 * x + 2.0 * g * X1, X1, steps)
        assert len(calls) == 3 * passes
        method = SchroedingerBridge(guidance=guidance, condition_dropout=0.1)
        assert method.passes == passes
        assert float(made[0, 0, 0]) == pytest.approx(expected, abs=1e-5)


def test_condition_dropout_zeroes_whole_items_at_its_rate():
    conditions = []

    def network(xt, t, cond, mask, random):
        conditions.append(cond)
        return xt

    items = 4000
    batch = two_points(items, 2)
    for share in (0.0, 0.25):
        method = SchroedingerBridge(condition_dropout=share)
        method.loss(network, batch, SampleRandom(range(items)))
    given, dropped = conditions
    assert torch.equal(given, torch.full_like(given, X1))
    zero = (dropped == 0).all(dim=(1, 2))
    assert torch.equal(dropped[~zero], given[~zero])
    error = math.sqrt(0.25 * 0.75 / items)
    assert abs(float(zero.float().mean()) - 0.25) < BOUND * error


def test_a_walk_from_the_estimate_leaves_from_it():
    """x1's share of the first step goes to the first estimate; NFE 1 is the same either way."""
    seen = []

    def network(xt, t, cond, mask):
        seen.append(xt)
        return torch.full_like(xt, 0.25)

    method = SchroedingerBridge(ode=True, start="estimate")
    cond = two_points(1, 1).condition(1)
    made = [method.resynthesize(network, cond, nfe, SampleRandom([0])) for nfe in (1, 2)]
    sigma = math.sqrt(ReferenceBridge().before(999))
    assert float(made[0]) == pytest.approx(X1 - sigma * 0.25, abs=1e-6)
    assert [float(x) for x in seen[1:]] == pytest.approx([X1, X1 - sigma * 0.25], abs=1e-6)
