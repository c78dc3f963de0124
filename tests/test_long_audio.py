"""Audio of any length to coarse codes: piece by piece what the whole gives, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from resyn.audio.io import open_audio, read_audio
from resyn.audio.resample import resample, resample_blocks
from resyn.codec import load_codec
from resyn.codec.base import PieceEncoder
from resyn.codec.pieces import encode_pieces, joined, windows
from resyn.data.coarse import coarse_codes
from resyn.errors import UserError
from resyn.types import Audio, CodecFrames
from tests.peak_memory import peak_growth
from tests.resynthesis_fakes import HOP, SmallCodec

CODECS = ("demo_24khz", "encodec_24khz_random")


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@pytest.mark.parametrize("cuts", [[50], [1] * 50, [7, 30, 13], [20, 20, 10]], ids=str)
@pytest.mark.parametrize(("chunk", "before", "after"), [(10, 0, 0), (10, 3, 2), (4, 9, 5)])
def test_windows_are_stretches_with_their_context_however_the_audio_is_cut(
    cuts, chunk, before, after
):
    audio = torch.arange(50 * HOP)[None, None]
    pieces = audio.split([cut * HOP for cut in cuts], dim=2)
    done = 0
    for window in windows(pieces, HOP, chunk, before, after):
        first = done - window.before
        assert window.before == min(before, done)
        assert window.frames == min(chunk, 50 - done)
        assert torch.equal(
            window.audio, audio[..., first * HOP : (done + window.frames + after) * HOP]
        )
        done += window.frames
    assert done == 50


@pytest.mark.parametrize("name", CODECS)
def test_codecs_make_of_pieces_what_they_make_of_the_whole(name, monkeypatch):
    monkeypatch.setattr("resyn.codec.demo.CHUNK_FRAMES", 100)
    codec = load_codec(name)
    assert isinstance(codec, PieceEncoder)
    audio = torch.from_numpy(noise(320 * 321))[None, None]
    whole = codec.encode(audio)
    pieces = audio.split([320 * cut for cut in (1, 19, 201, 7, 93)], dim=2)
    found = joined(encode_pieces(codec, pieces))
    assert torch.equal(found.z, whole.z)
    assert torch.equal(found.codes, whole.codes)


def test_a_codec_without_pieces_sees_the_whole():
    codec, audio = SmallCodec(), torch.from_numpy(noise(HOP * 20))[None, None]
    assert not isinstance(codec, PieceEncoder)
    found = joined(encode_pieces(codec, audio.split(HOP, dim=2)))
    assert torch.equal(found.codes, codec.encode(audio).codes)


@pytest.mark.parametrize(("given", "wanted"), [(16_000, 24_000), (44_100, 24_000), (9, 9)])
@pytest.mark.parametrize("samples", [0, 1, 700, 50_001])
def test_blocks_are_resampled_as_the_whole(given, wanted, samples):
    whole = noise(samples)
    blocks = [whole[first : first + 333] for first in range(0, samples, 333)]
    made = np.concatenate([np.zeros(0, np.float32), *resample_blocks(blocks, given, wanted)])
    assert np.array_equal(made, resample(Audio(whole, given), wanted).samples)


@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100])
def test_a_file_read_in_blocks_has_the_codes_of_the_file_read_whole(rate, tmp_path, monkeypatch):
    monkeypatch.setattr("resyn.audio.stream.BLOCK_VALUES", 5_001)
    file = str(tmp_path / "speech.flac")
    soundfile.write(file, noise(2 * rate + 17), rate)
    codec, audio = load_codec("demo_24khz"), read_audio(file, 24_000)
    padded = np.pad(audio.samples, (0, -len(audio.samples) % 320))
    whole = codec.encode(torch.from_numpy(padded)[None, None]).codes[0, :2].numpy()
    opened = open_audio(file)
    assert np.array_equal(coarse_codes(codec, opened.blocks, opened.sample_rate, 2), whole)


def test_what_is_wrong_with_a_file_is_told_with_its_name(tmp_path: Path):
    soundfile.write(tmp_path / "whole.flac", noise(24_000), 24_000)
    (tmp_path / "cut.flac").write_bytes((tmp_path / "whole.flac").read_bytes()[:9_000])
    (tmp_path / "text.flac").write_text("no sound")
    cut = open_audio(str(tmp_path / "cut.flac"))
    with pytest.raises(UserError, match=r"cut.flac: cannot be used \(truncated"):
        list(cut.blocks)
    with pytest.raises(UserError, match=r"text.flac: cannot be used \(magic"):
        open_audio(str(tmp_path / "text.flac"))
    with pytest.raises(UserError, match=r"absent\.wav: no such file"):
        open_audio(str(tmp_path / "absent.wav"))


class LoudnessCodec(SmallCodec):
    """One level of codes for how loud a frame is, at no cost; its z is as large as the audio."""

    spec = replace(SmallCodec.spec, sample_rate=24_000, hop=320)

    def encode(self, audio: Tensor) -> CodecFrames:
        z = audio.reshape(1, -1, 320)
        return CodecFrames(z, (100 * z.abs().mean(-1)).long()[:, None])

    def encode_pieces(self, pieces: Iterable[Tensor]) -> Iterator[CodecFrames]:
        for window in windows(pieces, 320, 100):
            yield self.encode(window.audio)


def test_the_memory_of_long_audio_is_that_of_a_block(tmp_path: Path):
    """Ten minutes at 48 kHz: 115 MB as float32."""
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 48_000, 1) as file:
        for seed in range(60):
            file.write(noise(480_000, seed))
    made: list[np.ndarray] = []

    def encode() -> None:
        opened = open_audio(str(tmp_path / "long.wav"))
        made.append(coarse_codes(LoudnessCodec(), opened.blocks, opened.sample_rate, 1))

    growth = peak_growth(encode)
    assert made[0].shape == (1, 600 * 75)
    assert growth < 32 * 2**20
