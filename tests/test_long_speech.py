"""Chunked resynthesis: what it equals, where it may differ, and how much it holds at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from resyn.codec import load_codec
from resyn.methods import parse_method
from resyn.models.shape import TransformerShape
from resyn.resynthesis import Resynthesizer
from resyn.sampling.chunks import Chunking
from resyn.types import Audio
from tests.resynthesis_fakes import DIM, HOP, LEVELS, SIZE, LocalNetwork, SmallCodec, space_of

FRAMES = 500
CODES = np.random.default_rng(0).integers(0, SIZE, (LEVELS, FRAMES))


def local_model(settings: dict[str, object], reach: int) -> Resynthesizer:
    codec, method = SmallCodec(), parse_method(settings)
    out_dim = SIZE if settings["name"] == "c2f" else DIM
    return Resynthesizer(method, LocalNetwork(out_dim, reach), space_of(codec), codec)


#: Settings, a network's reach, NFE, and what the result reaches: one reach per evaluation.
LOCAL = [
    ({"name": "onestep"}, 4, 1),
    ({"name": "c2f"}, 1, 4),
    ({"name": "c2f", "num_coarse": 3}, 2, 2),
    ({"name": "sb", "ode": True}, 1, 4),
]


@pytest.mark.parametrize(("settings", "reach", "nfe"), LOCAL, ids=str)
@pytest.mark.parametrize("chunking", [Chunking(64, 16), Chunking(150, 40)], ids=str)
def test_chunks_change_nothing_when_the_network_reaches_no_further_than_a_margin(
    settings, reach, nfe, chunking
):
    assert reach * nfe <= chunking.margin
    model = local_model(settings, reach)
    whole = model.resynthesize(CODES, nfe)
    chunked = model.resynthesize(CODES, nfe, chunking=chunking)
    assert np.allclose(chunked.samples, whole.samples, atol=1e-4)


@pytest.mark.parametrize("settings", [{"name": "sb"}, {"name": "c2f", "temperature": 1.0}], ids=str)
def test_noise_belongs_to_the_frame_so_the_chunking_does_not_matter(settings):
    model = local_model(settings, 1)
    made = [
        model.resynthesize(CODES, 4, 7, Chunking(*sizes)).samples
        for sizes in ((64, 16), (150, 40), (499, 100))
    ]
    assert np.allclose(made[0], made[1], atol=1e-4)
    assert np.allclose(made[0], made[2], atol=1e-4)
    other = model.resynthesize(CODES, 4, 8, Chunking(64, 16)).samples
    assert not np.allclose(made[0], other, atol=1e-2)


def test_a_network_that_reaches_further_errs_near_the_seams_only():
    reach, chunking = 12, Chunking(100, 8)
    model = local_model({"name": "onestep"}, reach)
    whole = model.resynthesize(CODES).samples.reshape(-1, HOP)
    chunked = model.resynthesize(CODES, chunking=chunking).samples.reshape(-1, HOP)
    near = np.zeros(FRAMES, bool)
    spans = chunking.spans(FRAMES)
    for edge in [span.start for span in spans[1:]] + [span.stop for span in spans[:-1]]:
        # The decoder spreads an error over two frames more.
        near[max(edge - reach - 2, 0) : edge + reach + 2] = True
    assert 0.3 < near.mean() < 0.7
    assert np.allclose(chunked[~near], whole[~near], atol=1e-4)
    assert not np.allclose(chunked[near], whole[near], atol=1e-2)


@pytest.mark.parametrize("name", ["c2f", "onestep", "sb"])
def test_what_fits_one_chunk_is_made_as_without_chunks(name):
    torch.manual_seed(0)
    codec, method = SmallCodec(), parse_method({"name": name})
    shape = TransformerShape(num_layers=2, dim=16, num_heads=2, ff_dim=32, conv_kernel=3)
    network = method.build_network(codec.spec, shape)
    model = Resynthesizer(method, network, space_of(codec), codec)
    whole = model.resynthesize(CODES, seed=4).samples
    chunked = model.resynthesize(CODES, seed=4, chunking=Chunking(FRAMES, 100)).samples
    assert np.array_equal(chunked, whole)


def test_memory_is_bounded_and_pieces_come_as_they_are_made():
    frames, chunking = 20_000, Chunking(100, 20)
    codes = np.random.default_rng(1).integers(0, SIZE, (1, frames))
    model = local_model({"name": "sb"}, 1)
    pieces = model.stream(codes, 2, chunking=chunking)
    total = len(next(pieces))
    # Two evaluations of the first chunk, of several hundred.
    assert len(model.network.lengths) == 2
    for piece in pieces:
        assert len(piece) <= chunking.chunk * HOP
        total += len(piece)
    assert total == frames * HOP
    assert max(model.network.lengths) <= chunking.chunk
    assert max(model.codec.decoded) <= chunking.chunk + 2 * chunking.overlap


def test_the_demo_codec_encodes_long_audio_as_in_one(monkeypatch):
    codec = load_codec("demo_24khz")
    audio = 0.1 * torch.randn(2, 1, 320 * 301, generator=torch.Generator().manual_seed(4))
    whole = codec.encode(audio)
    monkeypatch.setattr("resyn.codec.demo.CHUNK_FRAMES", 100)
    chunked = codec.encode(audio)
    assert torch.allclose(chunked.z, whole.z, atol=1e-5)
    assert (chunked.codes == whole.codes).float().mean() >= 0.9999
    # Without its past it would show.
    _, after = codec.network.encoder_reach
    monkeypatch.setattr(type(codec.network), "encoder_reach", (0, after))
    assert not torch.allclose(codec.encode(audio).z, whole.z, atol=1e-5)


def test_the_demo_codec_decodes_in_chunks_as_in_one():
    """Its decoder reaches 20 frames either way."""
    codec = load_codec("demo_24khz")
    random = np.random.default_rng(3)
    audio = Audio((0.1 * random.standard_normal(320 * 300)).astype(np.float32), 24_000)
    method, space = parse_method({"name": "onestep"}), space_of(SmallCodec())
    space = type(space)(codec.codebooks, torch.zeros(128), torch.ones(128))
    model = Resynthesizer(method, LookUp(), space, codec)
    chunking = Chunking(100, 32)
    codes = model.coarse_codes(audio)
    whole, chunked = (model.resynthesize(codes, chunking=c).samples for c in (None, chunking))
    assert np.abs(whole).max() > 0.01
    assert np.allclose(chunked, whole, atol=1e-5)


class LookUp(torch.nn.Module):
    """Takes x1 for z."""

    def forward(self, x, mask=None, random=None):
        return x
