"""Laws of the Resynthesizer: oracles at every c, batches, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from resyn.codec import load_codec
from resyn.errors import UserError
from resyn.methods import METHODS, change_sampling, parse_method
from resyn.models.shape import TransformerShape
from resyn.resynthesis import Resynthesizer
from resyn.types import Audio, LatentSpace
from tests.resynthesis_fakes import DIM, HOP, LEVELS, SIZE, Oracle, SmallCodec, space_of

NAMES = ("c2f", "onestep", "sb")
SHAPE = TransformerShape(num_layers=2, dim=16, num_heads=2, ff_dim=32, conv_kernel=3)


def codes_of(frames: int, seed: int = 0, levels: int = LEVELS) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, SIZE, (levels, frames))


def oracle_model(settings: dict[str, object], frames: int = 30) -> tuple[Resynthesizer, np.ndarray]:
    codec = SmallCodec()
    method, space = parse_method(settings), space_of(codec)
    codes = codes_of(frames)
    batch = torch.from_numpy(codes)[None]
    z = space.embed(batch) + 0.1
    oracle = Oracle(method.name, z, batch, space, method.num_coarse)
    return Resynthesizer(method, oracle, space, codec), codes


def trained_like(settings: dict[str, object]) -> Resynthesizer:
    """A real Transformer with random weights over the small codec."""
    torch.manual_seed(0)
    codec, method = SmallCodec(), parse_method(settings)
    return Resynthesizer(method, method.build_network(codec.spec, SHAPE), space_of(codec), codec)


@pytest.mark.parametrize("num_coarse", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_oracles_through_codec_and_all_for_any_number_of_coarse_codes(name, num_coarse):
    model, codes = oracle_model({"name": name, "num_coarse": num_coarse})
    truth = model.space.denormalise(model.network.x0)
    for nfe in {1, min(2, model.max_nfe), min(7, model.max_nfe)}:
        model.network.calls = 0
        made = model.resynthesize(codes[:num_coarse], nfe)
        if name == "c2f":
            truth = model.codec.dequantize(torch.from_numpy(codes)[None, : num_coarse + nfe])
        assert np.allclose(made.samples, model.decode(truth).samples, atol=1e-4)
        assert (len(made.samples), made.sample_rate) == (30 * HOP, 800)
        assert model.network.calls == nfe


SAMPLING = [
    {"name": "c2f", "temperature": 1e-3, "top_k": 3},
    *({"name": "sb", "grid": grid} for grid in ("quadratic", "sigma")),
    {"name": "sb", "start": "estimate"},
    {"name": "sb", "guidance": 3.0, "condition_dropout": 0.1},
    {"name": "sb", "grid": "sigma", "start": "estimate", "num_coarse": 2, "ode": True},
]


@pytest.mark.parametrize("settings", SAMPLING, ids=str)
def test_oracles_hold_under_every_sampling_option(settings):
    model, codes = oracle_model(settings)
    z = model.space.denormalise(model.network.x0)
    given = torch.from_numpy(codes)[None]
    for nfe in sorted({1, 2, min(4, model.max_nfe), min(16, model.max_nfe), model.max_nfe}):
        model.network.calls = 0
        made = model.latents(given, nfe, [3])
        truth = model.codec.dequantize(given[:, : 1 + nfe]) if settings["name"] == "c2f" else z
        assert torch.allclose(made, truth, atol=1e-5)
        assert model.network.calls == model.evaluations(nfe)
        assert model.evaluations(nfe) == nfe * (2 if "guidance" in settings else 1)


@pytest.mark.parametrize("codec_name", ["demo_24khz", "encodec_24khz_random"])
@pytest.mark.parametrize("name", NAMES)
def test_every_method_runs_over_every_codec(codec_name, name):
    torch.manual_seed(0)
    codec = load_codec(codec_name)
    method = parse_method({"name": name, "num_coarse": 3})
    space = LatentSpace(codec.codebooks, torch.zeros(128), torch.ones(128))
    model = Resynthesizer(method, method.build_network(codec.spec, SHAPE), space, codec)
    tone = Audio(0.2 * np.sin(np.arange(4800) / 20).astype(np.float32), 24_000)
    codes = model.coarse_codes(tone)
    made = model.resynthesize(codes, nfe=1)
    assert codes.shape == (3, 15)
    assert made.samples.shape == (4800,)
    assert np.isfinite(made.samples).all()


BATCHED = [
    {"name": "c2f"},
    {"name": "c2f", "temperature": 1.0, "top_k": 5, "num_coarse": 2},
    {"name": "onestep"},
    {"name": "sb"},
]


@pytest.mark.parametrize("settings", BATCHED, ids=str)
def test_a_batch_makes_of_each_item_what_it_makes_alone(settings):
    model = trained_like(settings)
    lengths = [40, 3, 17, 17, 1, 64]
    items = [codes_of(length, seed) for seed, length in enumerate(lengths)]
    items[2] = items[2][: model.num_coarse]
    seeds = [5, 6, 7, 8, 9, 5]
    together = model.resynthesize_batch(items, seeds=seeds)
    for codes, seed, made in zip(items, seeds, together, strict=True):
        alone = model.resynthesize(codes, seed=seed)
        assert np.allclose(made.samples, alone.samples, atol=1e-4)


@pytest.mark.parametrize("settings", [BATCHED[1], BATCHED[3]], ids=str)
def test_noise_is_the_seeds(settings):
    model = trained_like(settings)
    codes = codes_of(50)
    first, again, other = (model.resynthesize(codes, 3, seed).samples for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, atol=1e-3)


def test_one_evaluation_of_the_bridge_is_one_call_of_the_network():
    model = trained_like({"name": "sb"})
    codes = torch.from_numpy(codes_of(20))[None]
    x1 = model.space.normalise(model.space.embed(codes[:, :1]))
    epsilon = model.network(x1, torch.ones(1), x1)
    expected = model.space.denormalise(x1 - model.method.schedule.std(999) * epsilon)
    for changes in ({}, {"start": "estimate"}, {"grid": "sigma"}):
        model.method = change_sampling(model.method, changes)
        assert torch.equal(model.latents(codes, 1, [0]), expected)


BAD = [
    ({"codes": np.full((1, 4), SIZE)}, "lie outside 0 … 15 of codec small"),
    ({"codes": np.full((1, 4), -1)}, "lie outside"),
    ({"codes": np.zeros((1, 0), int)}, "one frame"),
    ({"codes": np.zeros((0, 4), int)}, "at least 1 levels"),
    ({"codes": np.zeros((1, 1, 4), int)}, "levels"),
    ({"codes": np.zeros((1, 4))}, "integers"),
    ({"nfe": 0}, "--nfe 0: sb takes 1 to 1000"),
    ({"nfe": 1001}, "--nfe 1001"),
]


@pytest.mark.parametrize(("fault", "message"), BAD, ids=str)
def test_wrong_calls_say_what_is_wrong(fault, message):
    model = trained_like({"name": "sb"})
    call = {"codes": codes_of(4), "nfe": 2} | fault
    with pytest.raises(UserError, match=message):
        model.resynthesize(**call)
    with pytest.raises(UserError, match=message):
        model.stream(**call)
    with pytest.raises(UserError, match=message):
        model.resynthesize_batch([codes_of(3), call["codes"]], call["nfe"], seeds=[0, 1])


def test_seeds_masks_and_codecs_that_do_not_fit_are_refused():
    model = trained_like({"name": "onestep"})
    codes = torch.from_numpy(codes_of(4))[None]
    with pytest.raises(UserError, match="2 for 1 items"):
        model.latents(codes, 1, [0, 1])
    for mask in ([False] * 4, [True, False, True, False]):
        with pytest.raises(UserError, match="mask"):
            model.latents(codes, 1, [0], torch.tensor([mask]))
    with pytest.raises(UserError, match="no samples"):
        model.coarse_codes(Audio(np.zeros(0, np.float32), 800))
    space = LatentSpace(torch.zeros(LEVELS, SIZE + 1, DIM), torch.zeros(DIM), torch.ones(DIM))
    with pytest.raises(UserError, match="codec small: its codebooks"):
        Resynthesizer(model.method, model.network, space, SmallCodec())


@pytest.mark.parametrize("name", NAMES)
def test_more_coarse_codes_than_the_codec_has_are_refused(name):
    method = parse_method({"name": name, "num_coarse": LEVELS + (name != "c2f")})
    with pytest.raises(UserError, match=f"num_coarse {method.num_coarse}"):
        method.build_network(SmallCodec.spec, SHAPE)


def test_only_sampling_settings_change_on_a_trained_model():
    bridge = parse_method({"name": "sb", "condition_dropout": 0.1, "beta_max": 0.5})
    changed = change_sampling(bridge, {"guidance": "2", "grid": "sigma"})
    assert (changed.guidance, changed.grid, changed.beta_max) == (2.0, "sigma", 0.5)
    with pytest.raises(UserError, match="sampling beta_max: sb has no such setting; it has: grid"):
        change_sampling(bridge, {"beta_max": 1})
    with pytest.raises(UserError, match="sampling grid"):
        change_sampling(bridge, {"grid": "cubic"})
    with pytest.raises(UserError, match="condition_dropout"):
        change_sampling(METHODS["sb"](), {"guidance": 2})
    with pytest.raises(UserError, match="temperature"):
        change_sampling(METHODS["c2f"](), {"top_k": 2})
    with pytest.raises(UserError, match="it has: none"):
        change_sampling(METHODS["onestep"](), {"top_k": 2})
