"""Change of sample rate."""

from __future__ import annotations

import numpy as np
import soxr

from resyn.types import Audio


def resampled_length(num_samples: int, from_rate: int, to_rate: int) -> int:
    """Samples at `to_rate` that cover `num_samples` at `from_rate`."""
    return -(-num_samples * to_rate // from_rate)


def resample(audio: Audio, sample_rate: int) -> Audio:
    """`audio` at `sample_rate` Hz by soxr's HQ setting; the same object when rates are equal."""
    if audio.sample_rate == sample_rate:
        return audio
    length = resampled_length(len(audio.samples), audio.sample_rate, sample_rate)
    made = soxr.resample(audio.samples, audio.sample_rate, sample_rate, quality="HQ")
    # soxr rounds the length; a fixed rule keeps the number of frames predictable from the plan.
    samples = np.zeros(length, np.float32)
    kept = min(length, len(made))
    samples[:kept] = made[:kept]
    return Audio(samples, sample_rate)
