"""Distance between log-mel spectrograms.

The spectrogram is that of HiFi-GAN (jik876/hifi-gan, meldataset.py: mel_spectrogram), on which
vocoders and codecs are commonly compared, with its upper edge at 8 kHz.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from resyn.evaluation.metrics.base import Metric, Pair

if TYPE_CHECKING:
    from torchaudio.transforms import MelSpectrogram

NUM_MELS = 80
FFT_SIZE = 1024
HOP = 256
FLOOR = 1e-5
"""Magnitudes below are raised to this before the logarithm."""


@functools.cache
def _mel(sample_rate: int, hop: int) -> MelSpectrogram:
    from torchaudio.transforms import MelSpectrogram

    return MelSpectrogram(
        sample_rate=sample_rate,
        n_fft=FFT_SIZE,
        hop_length=hop,
        f_min=0.0,
        f_max=8000.0,
        n_mels=NUM_MELS,
        power=1.0,
        norm="slaney",
        mel_scale="slaney",
    )


def log_mel(samples: np.ndarray, sample_rate: int, hop: int = HOP) -> Tensor:
    """Natural logarithm of the mel magnitudes of (S,) samples: (80, 1 + S // hop) float32."""
    with torch.inference_mode():
        magnitudes = _mel(sample_rate, hop)(torch.from_numpy(samples.astype(np.float32)))
        return torch.log(magnitudes.clamp(min=FLOOR))


def log_mel_distance(pair: Pair) -> float:
    """Mean absolute difference of log-mel spectrograms, in nepers; 0 for equal spectrograms."""
    reference = log_mel(pair.reference, pair.sample_rate)
    estimate = log_mel(pair.estimate, pair.sample_rate)
    return (reference - estimate).abs().mean().item()


LOG_MEL = Metric(
    name="log_mel",
    title="Log-mel distance",
    unit="",
    better="lower",
    digits=3,
    package="torchaudio",
    definition=(
        "mean |Δ ln(max(mel, 1e-5))| over 80 Slaney mel bands of 0–8 kHz and all frames; "
        "magnitude STFT with a Hann window of 1024 samples, hop 256, reflect padding"
    ),
    compute=log_mel_distance,
)
