"""An order of all examples that reads from few shards at a time."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

import numpy as np

Count = TypeVar("Count", int, np.ndarray)

# Second words of the seeds, apart from those of `resyn.data.sampler`.
_SHARDS, _SLOTS, _PERIOD = 3, 4, 5


class WindowShuffle:
    """Every epoch a permutation of `counts.sum()` slots, with random access.

    `counts` (N,) are the slots of each shard; slots are numbered shard by shard. With at most
    `window` shards the permutation is a full one. With more, the shards are permuted, and the slots
    of each are permuted and cut into `window` pieces of even size. Piece c of the p-th shard
    belongs to period (p + c) mod N, and the slots of a period are permuted. So a period reads from
    `window` shards, and the next one gives up one of them for a new one: shards are opened one at
    a time, and none twice but for the `window - 1` whose pieces go around the end of the epoch.

    An access costs the permutations of one period's shards, and nothing while it stays in a
    period. Safe to use from several threads.
    """

    def __init__(self, counts: np.ndarray, window: int, seed: int) -> None:
        self.counts = np.asarray(counts, dtype=np.int64)
        self.window = window
        self.seed = seed
        self.firsts = np.concatenate([[0], np.cumsum(self.counts)])
        self._whole = lru_cache(maxsize=2)(self._make_whole)
        self._epoch = lru_cache(maxsize=2)(self._make_epoch)
        self._period = lru_cache(maxsize=4)(self._make_period)

    def __len__(self) -> int:
        return int(self.firsts[-1])

    def slot(self, epoch: int, position: int) -> int:
        """The slot at `position` (0 … len - 1) of `epoch`."""
        if len(self.counts) <= self.window:
            return int(self._whole(epoch)[position])
        _, ends = self._epoch(epoch)
        period = int(np.searchsorted(ends, position, side="right"))
        first = int(ends[period - 1]) if period else 0
        return int(self._period(epoch, period)[position - first])

    def period_ends(self, epoch: int) -> np.ndarray:
        """Positions at which the periods of `epoch` end, (N,); one full period for few shards."""
        if len(self.counts) <= self.window:
            return np.array([len(self)])
        return self._epoch(epoch)[1]

    def _permutation(self, size: int, *key: int) -> np.ndarray:
        return np.random.default_rng([self.seed, *key]).permutation(size)

    def _make_whole(self, epoch: int) -> np.ndarray:
        return self._permutation(len(self), epoch)

    def _make_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The order of the shards, (N,), and where each period ends, (N,)."""
        order = self._permutation(len(self.counts), _SHARDS, epoch)
        sizes = np.zeros(len(order), np.int64)
        for piece in range(self.window):
            first, end = self._cut(self.counts[order], piece)
            sizes += np.roll(end - first, piece)
        return order, np.cumsum(sizes)

    def _make_period(self, epoch: int, period: int) -> np.ndarray:
        """The slots of a period, in order."""
        order, _ = self._epoch(epoch)
        pieces = []
        for piece in range(self.window):
            shard = int(order[(period - piece) % len(order)])
            first, end = self._cut(int(self.counts[shard]), piece)
            slots = self._permutation(int(self.counts[shard]), _SLOTS, epoch, shard)
            pieces.append(self.firsts[shard] + slots[first:end])
        together = np.concatenate(pieces)
        return together[self._permutation(len(together), _PERIOD, epoch, period)]

    def _cut(self, count: Count, piece: int) -> tuple[Count, Count]:
        """Where a piece of `count` slots begins and ends."""
        return count * piece // self.window, count * (piece + 1) // self.window
