"""What every method must do, and the oracle: a network that knows the truth returns it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from resyn.codec.base import CodecSpec
from resyn.methods import METHODS, ResynthesisMethod, parse_method
from resyn.models.shape import TransformerShape
from resyn.randomness import SampleRandom
from resyn.schedules.bridge import BridgeSchedule
from resyn.types import AudioBatch, Condition, LatentBatch, LatentSpace

B, K, V, T, D = 3, 8, 16, 20, 6
SPEC = CodecSpec("test", "0", 24_000, 320, D, K, V)
SHAPE = TransformerShape(num_layers=2, dim=16, num_heads=2, ff_dim=32, conv_kernel=3)
RESYNTHESIS = [name for name in METHODS if isinstance(METHODS[name](), ResynthesisMethod)]


@pytest.fixture
def batch() -> LatentBatch:
    g = torch.Generator().manual_seed(0)
    codebooks = torch.randn(K, V, D, generator=g) / torch.arange(1, K + 1)[:, None, None]
    space = LatentSpace(codebooks, torch.randn(D, generator=g), 0.5 + torch.rand(D, generator=g))
    codes = torch.randint(V, (B, K, T), generator=g)
    z = space.embed(codes) + 0.01 * torch.randn(B, T, D, generator=g)
    return LatentBatch(z, codes, space)


def random() -> SampleRandom:
    return SampleRandom(range(B))


def inputs_of(name: str, batch: LatentBatch) -> LatentBatch | AudioBatch:
    return batch if name in RESYNTHESIS else AudioBatch(0.1 * torch.randn(B, 1, 3200))


@pytest.mark.parametrize("name", METHODS)
def test_loss_is_finite_per_item_and_reproducible(name, batch):
    torch.manual_seed(0)
    method = parse_method({"name": name})
    assert method.name == name
    net = method.build_network(SPEC, SHAPE).train()
    given = inputs_of(name, batch)
    first = method.loss(net.eval(), given, random())
    second = method.loss(net, given, random())
    assert first.per_item.shape == (B,)
    assert torch.isfinite(first.per_item).all()
    assert torch.equal(first.per_item, second.per_item)
    first.per_item.mean().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize("name", RESYNTHESIS)
def test_loss_of_an_item_does_not_depend_on_its_batch(name, batch):
    torch.manual_seed(0)
    method = parse_method({"name": name})
    net = method.build_network(SPEC, SHAPE).train()
    whole = method.loss(net, batch, random()).per_item
    alone = LatentBatch(batch.z[1:2], batch.codes[1:2], batch.space)
    single = method.loss(net, alone, SampleRandom([1])).per_item
    assert torch.allclose(whole[1:2], single, atol=1e-5)


@pytest.mark.parametrize("name", RESYNTHESIS)
@pytest.mark.parametrize("num_coarse", [1, 3])
def test_resynthesis_shape_and_independence_of_the_batch(name, num_coarse, batch):
    torch.manual_seed(0)
    method = parse_method({"name": name, "num_coarse": num_coarse})
    net = method.build_network(SPEC, SHAPE).eval()
    nfe = min(3, method.max_nfe(SPEC))
    cond = batch.condition(num_coarse)
    with torch.no_grad():
        whole = method.resynthesize(net, cond, nfe, random())
        one = Condition(cond.codes[2:], cond.space)
        single = method.resynthesize(net, one, nfe, SampleRandom([2]))
    assert whole.shape == (B, T, D)
    assert torch.allclose(whole[2:], single, atol=1e-4)


def test_one_step_oracle(batch):
    method = parse_method({"name": "onestep"})
    made = method.resynthesize(lambda x, **_: batch.x0, batch.condition(1), 1, random())
    assert torch.allclose(made, batch.z, atol=1e-6)


def test_one_step_residual_oracle(batch):
    method = parse_method({"name": "onestep", "residual": 0.25})
    cond = batch.condition(1)

    def oracle(x, **_):
        return 4 * (batch.x0 - cond.x1)

    assert torch.allclose(method.resynthesize(oracle, cond, 1, random()), batch.z, atol=1e-6)
    assert method.loss(oracle, batch, random()).per_item.max() < 1e-9


@pytest.mark.parametrize("nfe", [1, 4, 7, 16, 999, 1000])
@pytest.mark.parametrize("mode", ["i2sb", "true_peak"])
@pytest.mark.parametrize("ode", [False, True])
def test_bridge_oracle_returns_z_at_every_nfe(nfe, mode, ode, batch):
    method = parse_method({"name": "sb", "mode": mode, "ode": ode, "latent_scale": 0.7})
    schedule = BridgeSchedule(mode)
    calls = []

    def oracle(xt, t, cond, mask):
        step = round(float(t[0]) * 1000) - 1
        calls.append(step)
        return (xt - 0.7 * batch.x0) / schedule.std(step)

    made = method.resynthesize(oracle, batch.condition(1), nfe, random())
    assert len(calls) == nfe
    assert (calls[0], len(set(calls))) == (999, nfe)
    assert torch.allclose(made, batch.z, atol=1e-5)


@pytest.mark.parametrize("num_coarse", [1, 2])
def test_coarse_to_fine_oracle_returns_the_first_levels_exactly(num_coarse, batch):
    method = parse_method({"name": "c2f", "num_coarse": num_coarse})

    def oracle(x, stage, mask):
        return F.one_hot(batch.codes[:, num_coarse + int(stage[0])], V).float()

    for nfe in range(1, K - num_coarse + 1):
        made = method.resynthesize(oracle, batch.condition(num_coarse), nfe, random())
        assert torch.equal(made, batch.space.embed(batch.codes[:, : num_coarse + nfe]))


def test_bridge_oracle_has_zero_loss_and_target_is_the_papers(batch):
    method = parse_method({"name": "sb"})
    seen = {}

    def oracle(xt, t, cond, mask, generators):
        sigma = torch.tensor([BridgeSchedule().std(round(float(v) * 1000) - 1) for v in t])
        seen["std"] = float((xt - batch.x0).std())
        return (xt - batch.x0) / sigma[:, None, None].float()

    assert method.loss(oracle, batch, random()).per_item.max() < 1e-9
    assert seen["std"] > 0


def test_the_start_share_trains_the_walks_first_point(batch):
    """At a share of one the network sees what a walk's first evaluation gives it, and no noise."""
    seen = []

    def watch(xt, t, cond, mask, generators):
        seen.append((xt, t))
        return torch.zeros_like(xt)

    for share in (0.0, 1.0):
        parse_method({"name": "sb", "start_share": share}).loss(watch, batch, random())
    (uniform, times), (starts, ends) = seen
    assert not torch.isclose(times, torch.ones(B)).any()
    assert torch.equal(ends, torch.ones(B))
    assert torch.equal(starts, batch.condition(1).x1)
    assert not torch.allclose(uniform, starts)


def test_temperature_zero_is_deterministic_and_one_is_not(batch):
    torch.manual_seed(0)
    cold, warm = (parse_method({"name": "c2f", "temperature": t}) for t in (0.0, 1.0))
    net = cold.build_network(SPEC, SHAPE).eval()
    with torch.no_grad():
        runs = [
            m.resynthesize(net, batch.condition(1), 7, SampleRandom(seeds))
            for m in (cold, warm)
            for seeds in ([0, 1, 2], [5, 6, 7], [5, 6, 7])
        ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[3], runs[4])
    assert torch.equal(runs[4], runs[5])


def test_padding_frames_do_not_matter(batch):
    torch.manual_seed(0)
    method = parse_method({"name": "sb"})
    net = method.build_network(SPEC, SHAPE).eval()
    mask = (torch.arange(T) < 12).expand(B, T)
    other = batch.codes.clone()
    other[:, :, 12:] = 0
    with torch.no_grad():
        made = [
            method.resynthesize(net, Condition(c[:, :1], batch.space, mask), 1, random())
            for c in (batch.codes, other)
        ]
    assert torch.allclose(made[0][:, :12], made[1][:, :12], atol=1e-5)
