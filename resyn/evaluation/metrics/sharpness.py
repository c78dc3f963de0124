"""Spectral sharpness: how much of the reference's contrast a log-mel spectrogram keeps.

A regression to the mean blurs spectrograms: it evens out what varies along time and along
frequency. The measure is the global variance with which over-smoothed synthesis is commonly told
(Toda and Tokuda, 2007), on log-mel bands. It compares amounts, not places, so a sharp spectrogram
that is wrong scores well: read it beside the log-mel distance.
"""

from __future__ import annotations

import math

from torch import Tensor

from resyn.evaluation.metrics.base import Metric, NoValueError, Pair
from resyn.evaluation.metrics.log_mel import log_mel

SPEECH_RANGE = math.log(100.0)
"""Frames whose mean log-mel lies further below the reference's loudest frame (40 dB) are pauses."""


def sharpness(pair: Pair) -> float:
    """Contrast of the estimate over that of the reference; 1 for equal spectrograms.

    Raises NoValueError with fewer than two frames of speech, or where the reference is flat.
    """
    reference, estimate = (
        log_mel(samples, pair.sample_rate) for samples in (pair.reference, pair.estimate)
    )
    level = reference.mean(0)
    speech = level > level.max() - SPEECH_RANGE
    if int(speech.sum()) < 2:
        raise NoValueError("less than two frames of speech")
    kept = _contrast(reference[:, speech])
    if not kept:
        raise NoValueError("the reference's spectrogram is flat")
    return _contrast(estimate[:, speech]) / kept


def _contrast(spectrogram: Tensor) -> float:
    """Root of the mean variance along time and along frequency of (80,T)."""
    along_time = spectrogram.var(1, correction=0).mean()
    along_frequency = spectrogram.var(0, correction=0).mean()
    return float((along_time + along_frequency).sqrt())


SHARPNESS = Metric(
    name="sharpness",
    title="Sharpness",
    unit="× reference",
    better="higher",
    digits=3,
    package="torchaudio",
    definition=(
        "√(variance of the log-mel spectrogram along time + along frequency) over that of the "
        "reference, in its frames within 40 dB of the loudest; below 1 blurred, above 1 more "
        "contrast than natural"
    ),
    compute=sharpness,
)
