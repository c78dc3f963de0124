"""The whole method on a bridge that can be solved by hand: from a point to two points.

x1 is -1.5 or 1.5, and x0 is x1 - 1 or x1 + 1, each equally likely. One evaluation lands on
the mean of the two, which is x1, where no x0 is; many reach both points equally often.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from resyn.methods.schroedinger_bridge import SchroedingerBridge
from resyn.randomness import SampleRandom
from resyn.types import LatentBatch, LatentSpace

FRAMES = 64
SPACE = LatentSpace(torch.tensor([[[-1.5], [1.5]]]), torch.zeros(1), torch.ones(1))
METHOD = SchroedingerBridge(beta_max=1.0)


class SmallNetwork(nn.Module):
    """A perceptron on every frame apart: how far x_t is from x1, when, and which x1."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1)
        )

    def forward(self, x, t, cond, mask=None, random=None):
        time = t[:, None, None].expand_as(x)
        return self.layers(torch.cat([x - cond, time, cond], dim=-1))


def pairs(items: int, seed: int) -> LatentBatch:
    random = torch.Generator().manual_seed(seed)
    codes = torch.randint(2, (items, 1, FRAMES), generator=random)
    signs = 2.0 * torch.randint(2, (items, FRAMES, 1), generator=random) - 1
    return LatentBatch(SPACE.embed(codes) + signs, codes, SPACE)


@pytest.fixture(scope="module")
def network() -> SmallNetwork:
    torch.manual_seed(0)
    net = SmallNetwork()
    steps = 1500
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        batch, random = pairs(32, step), SampleRandom(range(32 * step, 32 * step + 32))
        METHOD.loss(net, batch, random).per_item.mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return net.eval()


def energy_distance(left: Tensor, right: Tensor) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| of two samples (n,)."""

    def mean(a: Tensor, b: Tensor) -> float:
        return float((a[:, None] - b[None]).abs().mean())

    return 2 * mean(left, right) - mean(left, left) - mean(right, right)


def transport(network: SmallNetwork, nfe: int) -> tuple[Tensor, Tensor]:
    """Offsets from x1, (n,) each: those made with `nfe` evaluations, and true ones."""
    batch = pairs(32, 10**6)
    x1 = SPACE.embed(batch.codes)
    with torch.no_grad():
        made = METHOD.resynthesize(network, batch.condition(1), nfe, SampleRandom(range(32)))
    return (made - x1).flatten(), (batch.z - x1).flatten()


def test_energy_distance_falls_with_nfe(network):
    distances = {nfe: energy_distance(*transport(network, nfe)) for nfe in (1, 2, 4, 16)}
    # From a point to two at distance one: 2 - 0 - 1.
    assert distances[1] == pytest.approx(1.0, abs=0.05)
    assert distances[1] > 5 * distances[2] > 5 * distances[4]
    assert distances[4] > distances[16]
    assert distances[16] < 0.02


def test_both_points_are_reached_equally_often(network):
    made, _ = transport(network, 16)
    assert float(((made.abs() - 1).abs() < 0.2).float().mean()) > 0.95
    assert abs(float((made > 0).float().mean()) - 0.5) < 4 * 0.5 / len(made) ** 0.5
