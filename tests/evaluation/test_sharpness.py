"""Laws of spectral sharpness: what blurs a spectrogram lowers it, and nothing else does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from resyn.evaluation.metrics import AUDIO_METRICS, Pair
from resyn.evaluation.metrics.sharpness import sharpness
from tests.evaluation.fakes import speech_like

RATE = 16_000
SPEECH = speech_like(1.5, RATE)


def blurred(samples: np.ndarray, frames: int, bins: int) -> np.ndarray:
    """`samples` with its magnitudes averaged over time and frequency, under the same phases."""
    window = torch.hann_window(512)
    spectrum = torch.stft(torch.from_numpy(samples), 512, 128, window=window, return_complex=True)
    kernel = torch.ones(1, 1, bins, frames) / (bins * frames)
    padded = torch.nn.functional.pad(
        spectrum.abs()[None, None], 2 * [frames // 2] + 2 * [bins // 2], mode="replicate"
    )
    smooth = torch.conv2d(padded, kernel)[0, 0]
    made = torch.istft(torch.polar(smooth, spectrum.angle()), 512, 128, window=window)
    return np.pad(made.numpy(), (0, len(samples) - len(made)))


def test_a_copy_is_as_sharp_as_the_reference_whatever_its_gain():
    assert sharpness(Pair(SPEECH, SPEECH, RATE)) == 1
    assert sharpness(Pair(SPEECH, 2 * SPEECH, RATE)) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("axis", ["time", "frequency"])
def test_the_more_a_spectrogram_is_blurred_the_less_sharp_it_is(axis):
    values = []
    for width in (1, 5, 15, 41):
        shape = (width, 1) if axis == "time" else (1, width)
        values.append(sharpness(Pair(SPEECH, blurred(SPEECH, *shape), RATE)))
    assert values[0] == pytest.approx(1, abs=0.02)
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.93


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
