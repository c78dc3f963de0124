"""Which crop is the n-th training example: a pure function of seed and n.

Neither world size, workers nor restarts enter, so a resumed run sees what an uninterrupted one
would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resyn.data.shuffle import WindowShuffle


@dataclass(frozen=True, slots=True)
class Crop:
    """Frames `start` … `start + crop_frames` of a segment, for the example numbered `example`."""

    example: int
    segment: int
    start: int


class CropSampler:
    """Equal-length random crops of encoded segments, each epoch a fresh permutation.

    A segment counts once per whole crop that fits in it, and at least once, so that long
    segments are drawn in proportion to their length. `shards` says where each segment lies, in
    rising order: with more than `window` shards the examples move through them in a window
    (`WindowShuffle`); without it all are shuffled together. Safe to use from several threads.
    """

    def __init__(
        self,
        num_frames: Sequence[int] | np.ndarray,
        crop_frames: int,
        seed: int,
        shards: np.ndarray | None = None,
        window: int = 1,
    ) -> None:
        if not len(num_frames):
            raise ValueError("there is no segment to sample from")
        self.num_frames = np.asarray(num_frames, dtype=np.int64)
        self.crop_frames = crop_frames
        self.seed = seed
        whole = np.maximum(1, self.num_frames // crop_frames)
        self._slot_ends = np.cumsum(whole)
        where = np.zeros(len(whole), np.int64) if shards is None else np.asarray(shards)
        if (np.diff(where) < 0).any():
            raise ValueError("segments must be in the order of their shards")
        self.shuffle = WindowShuffle(np.bincount(where, whole).astype(np.int64), window, seed)

    def __len__(self) -> int:
        """Examples in an epoch."""
        return len(self.shuffle)

    def crop(self, example: int) -> Crop:
        """The crop of example n >= 0."""
        slot = self.shuffle.slot(*divmod(example, len(self)))
        segment = int(np.searchsorted(self._slot_ends, slot, side="right"))
        spare = max(0, int(self.num_frames[segment]) - self.crop_frames)
        start = int(np.random.default_rng([self.seed, 1, example]).integers(spare + 1))
        return Crop(example, segment, start)


def hold_out(
    utt_ids: Sequence[str] | pa.ChunkedArray, share: float, most: int, seed: int
) -> tuple[list[int], list[int]]:
    """Indices (training, validation): about `share` of the segments, and at most `most`.

    Validation takes the first of a seeded order of all ids, whatever their order here, and comes
    in that order, so that any beginning of it is spread over the whole set. Fewer than two
    segments cannot be divided; then validation is empty.
    """
    count = min(len(utt_ids) - 1, most, max(1, round(share * len(utt_ids)))) if share > 0 else 0
    names = utt_ids if isinstance(utt_ids, pa.ChunkedArray) else pa.array(utt_ids, pa.string())
    rising = pc.call_function("sort_indices", [names]).to_numpy().astype(np.int64)
    order = np.random.default_rng([seed, 2]).permutation(rising)
    held = order[: max(0, count)]
    kept = np.ones(len(utt_ids), bool)
    kept[held] = False
    return np.flatnonzero(kept).tolist(), held.tolist()


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
