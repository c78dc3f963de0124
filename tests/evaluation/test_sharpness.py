"""Laws of spectral sharpness: it follows what varies along time and frequency, and no gain."""

from __future__ import annotations

import numpy as np
import pytest

from resyn.evaluation.metrics import AUDIO_METRICS, Pair
from resyn.evaluation.metrics.sharpness import sharpness
from tests.evaluation.fakes import speech_like

RATE = 16_000
SPEECH = speech_like(1.5, RATE)


def modulated(axis: str, depth: float) -> np.ndarray:
    """Noise whose logarithmic level swings by 1.5 · `depth` nepers along time or frequency."""
    noise = 0.01 * np.random.default_rng(0).standard_normal(2 * RATE)
    if axis == "time":
        swing = np.sin(2 * np.pi * 2 * np.arange(len(noise)) / RATE)
        return (noise * np.exp(1.5 * depth * swing)).astype(np.float32)
    spectrum = np.fft.rfft(noise)
    swing = np.sin(2 * np.pi * 4 * np.linspace(0, 1, len(spectrum)))
    return np.fft.irfft(spectrum * np.exp(1.5 * depth * swing)).astype(np.float32)


def test_a_copy_is_as_sharp_as_the_reference_whatever_its_gain():
    assert sharpness(Pair(SPEECH, SPEECH, RATE)) == 1
    assert sharpness(Pair(SPEECH, 2 * SPEECH, RATE)) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("axis", ["time", "frequency"])
def test_sharpness_follows_the_depth_of_modulation_along_either_axis(axis: str):
    """What noise varies by itself, and the swing's own variance, 1.5² / 2 · depth², add up."""
    reference = modulated(axis, 1.0)
    values = [sharpness(Pair(reference, modulated(axis, d), RATE)) for d in (1.5, 1.0, 0.5, 0.0)]
    assert values[1] == 1
    assert values == sorted(values, reverse=True)
    flat, half = values[3] ** 2, values[2] ** 2
    assert half == pytest.approx(flat + (1 - flat) / 4, rel=0.05)


def test_pauses_do_not_count():
    """Noise far below the speech fills the pauses and leaves the speech as it was."""
    pause = np.zeros(RATE // 2, np.float32)
    reference = np.concatenate([pause, SPEECH, pause])
    noise = 1e-5 * np.random.default_rng(0).standard_normal(len(reference)).astype(np.float32)
    assert sharpness(Pair(reference, reference + noise, RATE)) == pytest.approx(1, abs=0.02)


def test_its_column_tells_that_one_is_natural():
    info = AUDIO_METRICS["sharpness"].info(24_000)
    assert info.is_better(0.9, 0.8)
    assert "above 1 more contrast than natural" in info.definition
