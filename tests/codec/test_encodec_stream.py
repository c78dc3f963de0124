"""EnCodec in chunks gives what the whole gives, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from encodec import EncodecModel
from torch import Tensor

from resyn.codec import encodec
from resyn.codec.encodec import EncodecCodec, load_encodec_random, random_network
from resyn.codec.encodec_stream import CHUNK_FRAMES, EncoderStream
from tests.peak_memory import peak_growth

Tone = Callable[..., np.ndarray]
HOP = 320


@pytest.fixture(scope="module")
def codec() -> EncodecCodec:
    torch.set_num_threads(1)
    loaded = load_encodec_random(None, "cpu")
    assert isinstance(loaded, EncodecCodec)
    return loaded


@pytest.fixture(scope="module")
def published() -> EncodecModel:
    """The package's own network, untouched, with the same weights."""
    return random_network().eval()


def clip(make_tone: Tone, frames: int, seed: int = 0) -> Tensor:
    samples = make_tone(frames * HOP / 24_000, 24_000, seed)
    return torch.from_numpy(samples)[None, None]


@torch.inference_mode()
def whole(network: EncodecModel, audio: Tensor) -> tuple[Tensor, Tensor]:
    """The package's encoder and quantiser on all of `audio` at once."""
    latents = network.encoder(audio)
    codes = network.quantizer.vq.encode(latents, n_q=8)
    return latents.transpose(1, 2), codes.transpose(0, 1)


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def agreement(found: Tensor, expected: Tensor) -> float:
    return float((found == expected).float().mean())


@pytest.mark.parametrize(
    "cuts", [[30, 30, 30, 30], [8, 1, 1, 1, 50, 3, 56], [119, 1], [120]], ids=str
)
def test_any_chunks_give_what_the_whole_gives(
    published: EncodecModel, make_tone: Tone, cuts: Sequence[int]
) -> None:
    audio = clip(make_tone, 120)
    stream = EncoderStream(published.encoder)
    with torch.inference_mode():
        parts = [stream(chunk) for chunk in audio.split([cut * HOP for cut in cuts], dim=2)]
    expected, _ = whole(published, audio)
    assert relative_error(torch.cat(parts, dim=2).transpose(1, 2), expected) < 1e-4


def test_a_long_segment_has_the_codes_of_the_whole(
    codec: EncodecCodec, published: EncodecModel, make_tone: Tone
) -> None:
    """Two chunks, and a last one that is shorter."""
    audio = clip(make_tone, 2 * CHUNK_FRAMES + 40)
    frames = codec.encode(audio)
    z, codes = whole(published, audio)
    assert relative_error(frames.z, z) < 1e-4
    assert agreement(frames.codes, codes) >= 0.9999


def test_what_comes_after_leaves_no_trace(
    codec: EncodecCodec, make_tone: Tone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Causal across chunks: another end of the audio changes no frame before it."""
    monkeypatch.setattr(encodec, "CHUNK_FRAMES", 30)
    audio = clip(make_tone, 75)
    other = audio.clone()
    other[..., 50 * HOP :] = 0.1
    first, second = codec.encode(audio).z, codec.encode(other).z
    torch.testing.assert_close(first[:, :50], second[:, :50])
    assert not torch.isclose(first[:, 50:], second[:, 50:]).all()


def test_items_of_a_batch_stay_apart_across_chunks(
    codec: EncodecCodec, make_tone: Tone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encodec, "CHUNK_FRAMES", 24)
    audio = torch.cat([clip(make_tone, 60, seed) for seed in range(3)])
    reference = codec.encode(audio)
    for order in ([2, 0, 1], [1, 1, 1]):
        frames = codec.encode(audio[order])
        assert torch.equal(frames.codes, reference.codes[order])
        assert torch.equal(frames.z, reference.z[order])
    alone = torch.cat([codec.encode(item[None]).codes for item in audio])
    assert agreement(alone, reference.codes) >= 0.9999


def test_memory_is_that_of_one_chunk(codec: EncodecCodec, make_tone: Tone) -> None:
    """Four times the audio does not even double the peak, which the whole at once would treble.

    No closer, because what the allocator kept of earlier work differs by tens of megabytes.
    """
    short, long = clip(make_tone, 3 * CHUNK_FRAMES), clip(make_tone, 12 * CHUNK_FRAMES)
    codec.encode(short)
    first = peak_growth(lambda: codec.encode(short))
    second = peak_growth(lambda: codec.encode(long))
    assert second < 2 * first
