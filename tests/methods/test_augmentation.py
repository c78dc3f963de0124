"""What perturbing a voice does to a tone."""

from __future__ import annotations

import torch

from resyn.methods.augmentation import _perturb, perturb_voices
from resyn.randomness import SampleRandom


def peak_frequency(row: torch.Tensor) -> float:
    window = torch.hann_window(len(row))
    return float(torch.fft.rfft(row * window).abs().argmax()) * 24_000 / len(row)


def test_speed_moves_pitch_and_keeps_the_level():
    time = torch.arange(28_800) / 24_000
    tone = 0.3 * torch.sin(2 * torch.pi * 1000 * time)
    for factor in (0.8, 1.0, 1.2):
        made = _perturb(tone, 24_000, factor, 0.0)
        assert len(made) == 24_000
        assert abs(peak_frequency(made) - 1000 * factor) < 3
        assert abs(float(made[2000:-2000].square().mean().sqrt()) - 0.3 / 2**0.5) < 0.01


def test_tilt_is_in_decibels_per_octave():
    time = torch.arange(24_000) / 24_000
    low, high = (0.1 * torch.sin(2 * torch.pi * f * time) for f in (1000, 4000))
    levels = [_perturb(tone, 24_000, 1.0, 2.0).square().mean().log10() for tone in (low, high)]
    assert abs(10 * float(levels[1] - levels[0]) - 4.0) < 0.01


def test_an_item_depends_on_its_own_seed():
    audio = 0.1 * torch.randn(3, 1, 2880)
    whole = perturb_voices(audio, SampleRandom([4, 5, 6]), 0.2, 3.0)
    alone = perturb_voices(audio[1:2], SampleRandom([5]), 0.2, 3.0)
    assert whole.shape == (3, 1, 2400)
    assert torch.equal(whole[1:2], alone)
