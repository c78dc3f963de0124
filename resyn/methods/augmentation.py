"""Voices that the corpus does not have: speech played faster or slower, and tilted."""

from __future__ import annotations

import torch
from torch import Tensor

from resyn.randomness import SampleRandom


def perturb_voices(audio: Tensor, random: SampleRandom, speed: float, tilt: float) -> Tensor:
    """Resample and tilt each item by its own draw: (B,1,S) to (B,1,S / (1 + speed)).

    Playing `factor` times as fast moves pitch and formants together; `factor` is uniform in
    1 ± `speed`. The tilt is uniform in ± `tilt` dB per octave around 1/16 of the sample rate.
    Band-limited, by the discrete Fourier transform; the loudest sample stays within ±1.
    """
    length = int(audio.shape[-1] / (1 + speed))
    factors = 1 + speed * (2 * random.uniform() - 1)
    slopes = tilt * (2 * random.uniform() - 1)
    rows = [
        _perturb(row, length, float(factor), float(slope))
        for row, factor, slope in zip(audio[:, 0], factors, slopes, strict=True)
    ]
    return torch.stack(rows)[:, None]


def _perturb(row: Tensor, length: int, factor: float, slope: float) -> Tensor:
    """`length` samples of `row` (S,) played `factor` times as fast, tilted by `slope` dB/octave."""
    taken = min(len(row), round(length * factor))
    spectrum = torch.fft.rfft(row[:taken])
    bins = torch.arange(1, length // 2 + 2, device=row.device)
    octaves = (bins / (length / 16)).log2()
    resized = torch.zeros(length // 2 + 1, dtype=spectrum.dtype, device=row.device)
    shared = min(len(resized), len(spectrum))
    resized[:shared] = spectrum[:shared]
    resized = resized * 10 ** (slope * octaves / 20)
    made = torch.fft.irfft(resized, n=length) * (length / taken)
    return made / made.abs().max().clamp_min(1.0)
