"""Rates, 16-bit samples and files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from resyn.audio import decode, encode_flac, from_pcm16, read_audio, resample, to_pcm16, write_wav
from resyn.errors import UserError
from resyn.storage import open_storage
from resyn.types import Audio

Tone = Callable[..., np.ndarray]


def test_an_equal_rate_changes_nothing(make_tone: Tone) -> None:
    audio = Audio(make_tone(0.5), 16_000)
    assert resample(audio, 16_000) is audio


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("num_samples", [1_001, 16_000])
def test_the_length_follows_from_the_rates(rate: int, num_samples: int) -> None:
    made = resample(Audio(np.zeros(num_samples, np.float32), rate), 24_000)
    assert len(made.samples) == -(-num_samples * 24_000 // rate)


def test_a_tone_survives_a_change_of_rate() -> None:
    def sine(rate: int) -> np.ndarray:
        return np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)

    made = resample(Audio(sine(16_000), 16_000), 24_000).samples
    np.testing.assert_allclose(made[500:-500], sine(24_000)[500:-500], atol=1e-3)


def test_pcm_and_flac_are_exact() -> None:
    levels = np.arange(-(2**15), 2**15, dtype=np.int16)
    np.testing.assert_array_equal(to_pcm16(from_pcm16(levels)), levels)
    read = decode(encode_flac(levels, 24_000))
    assert read.sample_rate == 24_000
    np.testing.assert_array_equal(read.samples, from_pcm16(levels))


def test_overload_is_clipped() -> None:
    np.testing.assert_array_equal(to_pcm16(np.array([2.0, -2.0])), [2**15 - 1, -(2**15)])


def test_wave_files_come_back(tmp_path: Path, make_tone: Tone) -> None:
    samples = from_pcm16(to_pcm16(make_tone(0.5, 24_000)))
    write_wav(open_storage(str(tmp_path)), "a/b.wav", Audio(samples, 24_000))
    assert soundfile.info(tmp_path / "a/b.wav").subtype == "PCM_16"
    np.testing.assert_array_equal(read_audio(str(tmp_path / "a/b.wav")).samples, samples)


def test_errors_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_text("hello")
    with pytest.raises(UserError, match=r"x\.wav: cannot be used \(magic"):
        read_audio(str(tmp_path / "x.wav"))
    with pytest.raises(UserError, match=r"y\.wav: no such file"):
        read_audio(str(tmp_path / "y.wav"))
