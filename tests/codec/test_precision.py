"""bf16 is for an encoder's network alone: the quantiser and all that follows stay in float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from resyn.codec import Codec, EncoderOptions, load_codec
from resyn.codec.arithmetic import exact_float32
from resyn.codec.demo import FrameCodec
from resyn.codec.encodec import EncodecCodec

Tone = Callable[..., np.ndarray]
BF16 = EncoderOptions(precision="bf16")


@pytest.fixture(scope="module", params=["encodec_24khz_random", "demo_24khz"])
def pair(request: pytest.FixtureRequest) -> tuple[Codec, Codec]:
    """The codec in float32 and in bf16."""
    torch.set_num_threads(1)
    return load_codec(request.param), load_codec(request.param, options=BF16)


@pytest.fixture
def audio(make_tone: Tone) -> Tensor:
    """Five seconds: three chunks of EnCodec's, the last one shorter."""
    return torch.from_numpy(make_tone(5.0, 24_000))[None, None]


def quantise(codec: Codec, z: Tensor) -> Tensor:
    if isinstance(codec, EncodecCodec):
        return codec._network.quantizer.vq.encode(z.transpose(1, 2), n_q=8).transpose(0, 1)
    assert isinstance(codec, FrameCodec)
    return codec.network.quantizer.encode(z)


def test_z_is_rounded_and_its_codes_are_exact(pair: tuple[Codec, Codec], audio: Tensor) -> None:
    """The error of z is that of bf16, whose significand has 8 bits; its codes are float32's."""
    exact, rounded = (codec.encode(audio) for codec in pair)
    assert rounded.z.dtype == torch.float32
    error = float((rounded.z - exact.z).norm() / exact.z.norm())
    assert 1e-5 < error < 0.05
    assert torch.equal(rounded.codes, quantise(pair[1], rounded.z))
    assert 0.5 < float((rounded.codes[:, 0] == exact.codes[:, 0]).float().mean()) <= 1


def test_what_follows_the_encoder_stays_in_float32(
    pair: tuple[Codec, Codec], audio: Tensor
) -> None:
    exact, rounded = pair
    codes = exact.encode(audio[..., :24_000]).codes
    latents = exact.dequantize(codes)
    assert torch.equal(rounded.dequantize(codes), latents)
    assert torch.equal(rounded.decode(latents), exact.decode(latents))
    assert exact.spec == rounded.spec


def test_float32_means_float32_on_a_gpu() -> None:
    backends = torch.backends
    exact_float32()
    found = backends.cudnn.conv.fp32_precision, backends.cudnn.rnn.fp32_precision  # pyright: ignore
    assert "tf32" not in found
    assert backends.cuda.matmul.allow_tf32 is False
