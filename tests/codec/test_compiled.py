"""A compiled encoder computes what the plain one does; what cannot be compiled still runs."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from encodec.modules.seanet import SEANetEncoder
from torch import Tensor, nn

from resyn.codec import EncoderOptions, load_codec
from resyn.codec.arithmetic import CompiledSection, CompileWarning
from resyn.codec.encodec_stream import EncoderSections, EncoderStream
from resyn.errors import UserError

Tone = Callable[..., np.ndarray]
CPU = torch.device("cpu")


class Branching(nn.Module):
    """Decides by a value, which no graph can hold."""

    def forward(self, x: Tensor, contexts: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        return (x + 1 if float(x.sum()) > 0 else x - 1), [x]


#: Graphs without code generation, which takes minutes; and the compiler itself.
BACKENDS = ["aot_eager", pytest.param("inductor", marks=pytest.mark.soak)]


@pytest.mark.parametrize("backend", BACKENDS)
@torch.inference_mode()
def test_chunks_of_a_small_encoder(backend: str) -> None:
    """The published network's layers at a hop of 8: first and later chunks, without a break."""
    torch.manual_seed(0)
    shape = {"n_filters": 2, "dimension": 4, "ratios": [4, 2], "lstm": 1, "norm": "none"}
    encoder = SEANetEncoder(causal=True, **shape).eval()  # pyright: ignore[reportArgumentType]
    audio = torch.randn(2, 1, 3 * 20 * 8)
    plain, sections = EncoderStream(encoder), EncoderSections(encoder)
    for name in ("first", "last"):
        section = getattr(sections, name)
        setattr(sections, name, CompiledSection(section, CPU, backend))
    with warnings.catch_warnings():
        warnings.simplefilter("error", CompileWarning)
        compiled = EncoderStream(sections)
        for chunk in audio.split(20 * 8, dim=2):
            torch.testing.assert_close(compiled(chunk), plain(chunk), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_compiled_runs_as_it_is_with_one_warning() -> None:
    section = CompiledSection(Branching(), CPU)
    with pytest.warns(CompileWarning, match=r"could not be compiled .*--set compile=off"):
        y, kept = section(torch.ones(3), None)
    assert torch.equal(y, torch.full((3,), 2.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y, _ = section(-torch.ones(3), kept)
    assert torch.equal(y, torch.full((3,), -2.0))


def test_a_codec_without_chunks_of_one_shape_says_so() -> None:
    with pytest.raises(UserError, match=r"compile=on: codec demo_24khz is not compiled"):
        load_codec("demo_24khz", options=EncoderOptions(compiled=True))


@pytest.mark.soak
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_whole_network(make_tone: Tone, precision: str) -> None:
    """Three chunks, the last one shorter; minutes of compiling."""
    audio = torch.from_numpy(make_tone(5.0, 24_000))[None, None]
    options = [EncoderOptions(precision, compiled) for compiled in (False, True)]  # pyright: ignore
    with warnings.catch_warnings():
        warnings.simplefilter("error", CompileWarning)
        plain, compiled = (
            load_codec("encodec_24khz_random", options=each).encode(audio) for each in options
        )
    assert compiled.z.shape == plain.z.shape == (1, 375, 128)
    error = float((compiled.z - plain.z).abs().max() / plain.z.abs().max())
    assert error < (1e-4 if precision == "fp32" else 0.05)
    same = float((compiled.codes == plain.codes).float().mean())
    assert same >= (0.9999 if precision == "fp32" else 0.8)
