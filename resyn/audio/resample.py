"""Change of sample rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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


def resample_blocks(
    blocks: Iterable[np.ndarray], from_rate: int, to_rate: int
) -> Iterator[np.ndarray]:
    """`resample` of consecutive blocks (n,) float32, the same samples, as they come."""
    if from_rate == to_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32", quality="HQ")
    given = made = 0
    for block in blocks:
        piece = stream.resample_chunk(block)
        given, made = given + len(block), made + len(piece)
        yield piece
    last = stream.resample_chunk(np.zeros(0, np.float32), last=True)
    rest = np.zeros(max(resampled_length(given, from_rate, to_rate) - made, 0), np.float32)
    kept = min(len(rest), len(last))
    rest[:kept] = last[:kept]
    yield rest
