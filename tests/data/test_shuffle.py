"""The order of examples: all of them once, from few shards at a time, reachable at once."""

from __future__ import annotations

import numpy as np
import pytest

from resyn.data.sampler import CropSampler
from resyn.data.shuffle import WindowShuffle

#: Slots per shard: even ones, ragged ones with empty shards, one that dwarfs the others, single.
SHAPES = {
    "even": np.full(40, 50),
    "ragged": np.random.default_rng(0).integers(0, 90, 37),
    "giant": np.array([3, 2000, 5, 7, 0, 11, 4]),
    "single": np.ones(30, np.int64),
}
shapes = pytest.mark.parametrize("counts", SHAPES.values(), ids=SHAPES.keys())
windows = pytest.mark.parametrize("window", [1, 2, 5, 6, 40, 64])


def epoch(shuffle: WindowShuffle, number: int) -> np.ndarray:
    return np.array([shuffle.slot(number, position) for position in range(len(shuffle))])


def shards_of(shuffle: WindowShuffle, slots: np.ndarray) -> np.ndarray:
    return np.searchsorted(shuffle.firsts, slots, side="right") - 1


@shapes
@windows
def test_every_slot_once_in_every_epoch(counts: np.ndarray, window: int) -> None:
    shuffle = WindowShuffle(counts, window, seed=1)
    orders = [epoch(shuffle, number) for number in range(3)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(counts.sum()))
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], epoch(WindowShuffle(counts, window, seed=2), 0))


@shapes
@windows
def test_a_period_touches_a_window_of_shards_and_the_next_one_more(
    counts: np.ndarray, window: int
) -> None:
    """Any span of reads no longer than a period lies in two neighbours: window + 1 shards."""
    shuffle = WindowShuffle(counts, window, seed=3)
    shards = shards_of(shuffle, epoch(shuffle, 0))
    ends = shuffle.period_ends(0)
    starts = [0, *ends[:-1]]
    assert ends[-1] == counts.sum()
    for start, end in zip(starts, ends, strict=True):
        assert len(set(shards[start:end])) <= window
    if len(counts) > window:
        for start, end in zip(starts, ends[1:], strict=False):
            assert len(set(shards[start:end])) <= window + 1


def test_a_shard_is_opened_once_but_for_those_that_go_around_the_end() -> None:
    """Counted as a reader that keeps the latest window + 1 shards would."""
    shuffle, window = WindowShuffle(np.full(60, 40), 6, seed=0), 6
    held: list[int] = []
    opened = 0
    for shard in shards_of(shuffle, epoch(shuffle, 0)).tolist():
        opened += shard not in held
        held = [shard, *(s for s in held if s != shard)][: window + 1]
    assert opened == 60 + window - 1


def test_shards_are_mixed_within_the_window() -> None:
    """A plain walk through the shards would repeat a shard 39 times in 40."""
    shuffle = WindowShuffle(np.full(60, 40), 10, seed=0)
    shards = shards_of(shuffle, epoch(shuffle, 0))
    assert np.mean(shards[1:] == shards[:-1]) < 0.15
    assert len(set(np.diff([np.flatnonzero(shards == s)[0] for s in range(60)]))) > 30


@shapes
@windows
def test_any_position_is_reached_without_those_before(counts: np.ndarray, window: int) -> None:
    whole = epoch(WindowShuffle(counts, window, seed=4), 2)
    for position in np.random.default_rng(0).integers(0, len(whole), 25).tolist():
        assert WindowShuffle(counts, window, seed=4).slot(2, position) == whole[position]


def test_few_shards_are_shuffled_as_one() -> None:
    counts = np.full(8, 30)
    order = epoch(WindowShuffle(counts, 8, seed=5), 1)
    np.testing.assert_array_equal(order, np.random.default_rng([5, 1]).permutation(240))
    shuffle = WindowShuffle(counts, 8, seed=5)
    assert set(shards_of(shuffle, order[:60])) == set(range(8))


def test_crops_of_segments_in_shards() -> None:
    """The sampler hands its segments' shards on, and draws every segment by its length."""
    lengths = np.random.default_rng(1).integers(20, 400, 300)
    shards = np.repeat(np.arange(30), 10)
    sampler = CropSampler(lengths, 75, seed=0, shards=shards, window=4)
    drawn = [sampler.crop(example).segment for example in range(len(sampler))]
    expected = np.maximum(1, lengths // 75)
    np.testing.assert_array_equal(np.bincount(drawn), expected)
    assert len(set(shards[drawn[: len(sampler) // 40]])) <= 5
    with pytest.raises(ValueError, match="order of their shards"):
        CropSampler(lengths, 75, 0, shards[::-1], 4)
