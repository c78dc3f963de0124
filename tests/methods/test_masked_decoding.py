"""Coarse-to-fine in several passes per level: the surest frames first (MaskGIT)."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from resyn.codec.base import CodecSpec
from resyn.methods import change_sampling, parse_method
from resyn.methods.coarse_to_fine import CoarseToFine, surest
from resyn.models.shape import TransformerShape
from resyn.randomness import PaddedRandom, SampleRandom
from resyn.types import Condition, LatentBatch, LatentSpace

B, K, V, T, D = 3, 4, 8, 16, 6
SPEC = CodecSpec("test", "0", 24_000, 320, D, K, V)
SHAPE = TransformerShape(num_layers=2, dim=32, num_heads=2, ff_dim=64, conv_kernel=3)


def masked(**fields: object) -> CoarseToFine:
    method = parse_method({"name": "c2f", "masking": 0.8, **fields})
    assert isinstance(method, CoarseToFine)
    return method


@pytest.fixture
def batch() -> LatentBatch:
    g = torch.Generator().manual_seed(0)
    space = LatentSpace(torch.randn(K, V, D, generator=g), torch.zeros(D), torch.full((D,), 0.7))
    codes = torch.randint(V, (B, K, T), generator=g)
    return LatentBatch(space.embed(codes), codes, space)


def test_without_masking_there_is_no_second_input():
    plain = parse_method({"name": "c2f"}).network_io(SPEC)
    assert plain.cond_dim == 0
    assert masked().network_io(SPEC) == type(plain)(D, V, cond_dim=D + 1, num_stages=K - 1)
    sizes = [
        sum(p.numel() for p in parse_method(fields).build_network(SPEC, SHAPE).parameters())
        for fields in ({"name": "c2f"}, {"name": "c2f", "masking": 0.8})
    ]
    assert sizes[1] - sizes[0] == SHAPE.dim * (D + 1) + SHAPE.dim


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_oracle_is_exact_and_every_pass_is_counted(steps, batch):
    method = masked(decoding_steps=steps)
    calls = []

    def oracle(x, stage, cond, mask):
        calls.append(int(stage[0]))
        return F.one_hot(batch.codes[:, 1 + int(stage[0])], V).float()

    assert method.max_nfe(SPEC) == method.default_nfe(SPEC) == steps * (K - 1)
    for nfe in range(1, method.max_nfe(SPEC) + 1):
        calls.clear()
        made = method.resynthesize(oracle, batch.condition(1), nfe, SampleRandom(range(B)))
        levels = 1 + math.ceil(nfe / steps)
        assert torch.equal(made, batch.space.embed(batch.codes[:, :levels]))
        assert calls == [index // steps for index in range(nfe)]


def test_known_frames_grow_by_the_cosine_and_never_change(batch):
    shown = []

    def watch(x, stage, cond, mask):
        shown.append(cond.clone())
        return torch.randn(B, T, V, generator=torch.Generator().manual_seed(len(shown)))

    masked(decoding_steps=6).resynthesize(watch, batch.condition(1), 6, SampleRandom(range(B)))
    counts = [int(cond[0, :, -1].sum()) for cond in shown]
    assert counts == [T - math.floor(T * math.cos(math.pi / 2 * step / 6)) for step in range(6)]
    for before, after in pairwise(shown):
        kept = before[..., -1] == 1
        assert torch.equal(after[kept], before[kept])
        assert not before[~kept].any()


def test_the_surest_frames_come_first_and_padding_never():
    confidence = torch.tensor([[-3.0, -1.0, -2.0, -1.0, 0.0]])
    known = torch.tensor([[True, False, False, False, False]])
    mask = torch.tensor([[True, True, True, True, False]])
    made = [surest(confidence, known, torch.tensor([n]), mask)[0].tolist() for n in (1, 2, 4)]
    assert made[0] == known[0].tolist()
    assert made[1] == [True, True, False, False, False]
    assert made[2] == mask[0].tolist()


def test_an_item_does_not_depend_on_its_batch_or_its_padding(batch):
    torch.manual_seed(0)
    method = masked(decoding_steps=3, temperature=1.0)
    net = method.build_network(SPEC, SHAPE).eval()
    lengths = [T, 5, 9]
    mask = torch.arange(T) < torch.tensor(lengths)[:, None]
    cond = Condition(batch.codes[:, :1], batch.space, mask)
    with torch.no_grad():
        whole = method.resynthesize(net, cond, 7, PaddedRandom(range(B), lengths))
        for item, length in enumerate(lengths):
            one = Condition(batch.codes[item : item + 1, :1, :length], batch.space)
            alone = method.resynthesize(net, one, 7, SampleRandom([item]))
            assert torch.allclose(whole[item, :length], alone[0], atol=1e-4)


def test_the_loss_counts_only_what_the_network_was_not_shown(batch):
    """A network that knows the shown frames and nothing else is as good as chance."""
    method = masked(masking=1.0)

    def copier(x, stage, cond, mask, random):
        level = batch.codes[torch.arange(B), 1 + stage]
        return 50 * F.one_hot(level, V).float() * cond[..., -1:]

    made = method.loss(copier, batch, SampleRandom(range(B)))
    assert torch.allclose(made.per_item, torch.full((B,), math.log(V)), atol=1e-5)


def test_the_shown_share_is_that_of_the_cosine_schedule():
    draws = 20_000
    known = masked(masking=0.5)._draw_known(1, SampleRandom(range(draws))).float()
    # A half of the items shows 1 - E[cos(πu/2)] = 1 - 2/π of its frames.
    expected = 0.5 * (1 - 2 / math.pi)
    assert abs(float(known.mean()) - expected) < 4 * math.sqrt(expected / draws)


def test_several_passes_agree_with_themselves_where_one_cannot():
    """Level 2 is one coin per utterance: frames drawn at once disagree, those drawn in turn do not.

    A network is trained for it, so this covers masking, its input and the order of decoding.
    """
    torch.manual_seed(0)
    spec = CodecSpec("coin", "0", 24_000, 320, D, 2, 2)
    space = LatentSpace(torch.randn(2, 2, D), torch.zeros(D), torch.ones(D))
    method = masked(temperature=1.0)
    net = method.build_network(spec, SHAPE)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for step in range(120):
        coins = torch.randint(2, (32, 1, 1)).expand(-1, -1, T)
        codes = torch.cat([torch.zeros_like(coins), coins], dim=1)
        made = LatentBatch(space.embed(codes), codes, space)
        loss = method.loss(net, made, SampleRandom(range(32 * step, 32 * step + 32)))
        optimizer.zero_grad()
        loss.per_item.mean().backward()
        optimizer.step()

    def agreement(steps: int) -> tuple[float, float]:
        walk = change_sampling(method, {"decoding_steps": steps})
        cond = Condition(torch.zeros(64, 1, T, dtype=torch.int64), space)
        with torch.no_grad():
            latents = walk.resynthesize(net.eval(), cond, steps, SampleRandom(range(64)))
        distance = (latents - space.codebooks[0, 0])[:, :, None] - space.codebooks[1]
        heads = distance.square().sum(-1).argmin(-1).float().mean(1)
        return float((2 * heads - 1).abs().mean()), float(heads.mean())

    # The mean of |2p - 1| over sixteen fair coins is 0.196.
    assert agreement(1)[0] < 0.35
    many, heads = agreement(12)
    assert many > 0.95
    assert 0.25 < heads < 0.75
