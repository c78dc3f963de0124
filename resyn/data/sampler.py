"""Which crop is the n-th training example: a pure function of seed and n.

Neither world size, workers nor restarts enter, so a resumed run sees what an uninterrupted one
would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Crop:
    """Frames `start` … `start + crop_frames` of a segment, for the example numbered `example`."""

    example: int
    segment: int
    start: int


class CropSampler:
    """Equal-length random crops of encoded segments, each epoch a fresh permutation.

    A segment counts once per whole crop that fits in it, and at least once, so that long
    segments are drawn in proportion to their length.
    """

    def __init__(self, num_frames: Sequence[int], crop_frames: int, seed: int) -> None:
        if not len(num_frames):
            raise ValueError("there is no segment to sample from")
        self.num_frames = np.asarray(num_frames, dtype=np.int64)
        self.crop_frames = crop_frames
        self.seed = seed
        whole = np.maximum(1, self.num_frames // crop_frames)
        self.slots = np.repeat(np.arange(len(self.num_frames)), whole)
        self._epoch: tuple[int, np.ndarray] | None = None

    def crop(self, example: int) -> Crop:
        """The crop of example n >= 0."""
        epoch, position = divmod(example, len(self.slots))
        if self._epoch is None or self._epoch[0] != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.slots))
            self._epoch = (epoch, order)
        segment = int(self.slots[self._epoch[1][position]])
        spare = max(0, int(self.num_frames[segment]) - self.crop_frames)
        start = int(np.random.default_rng([self.seed, 1, example]).integers(spare + 1))
        return Crop(example, segment, start)


def hold_out(utt_ids: Sequence[str], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices (training, validation): about `share` of the segments, by rank of a seeded order.

    Fewer than two segments cannot be divided; then validation is empty.
    """
    count = min(len(utt_ids) - 1, max(1, round(share * len(utt_ids)))) if share > 0 else 0
    order = np.random.default_rng([seed, 2]).permutation(np.argsort(np.asarray(utt_ids)))
    held = set(order[: max(0, count)].tolist())
    kept = [index for index in range(len(utt_ids)) if index not in held]
    return kept, sorted(held)


def take_share(
    indices: Sequence[int], num_frames: np.ndarray, share: float, seed: int
) -> list[int]:
    """Those of `indices` that come first in a seeded order and hold about `share` of the frames.

    `num_frames` (N,) are the lengths of all segments. At least one segment is taken, and a smaller
    share is part of a larger one.
    """
    if share == 1:
        return list(indices)
    order = np.random.default_rng([seed, 3]).permutation(np.asarray(indices))
    frames = np.cumsum(num_frames[order], dtype=np.int64)
    count = int(np.abs(frames - share * frames[-1]).argmin()) + 1
    return sorted(order[:count].tolist())
