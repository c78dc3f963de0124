"""Crops depend on seed and example alone."""

from __future__ import annotations

from collections import Counter

import pytest

from resyn.data.sampler import CropSampler, hold_out


def test_first_k_and_the_rest_equal_the_whole():
    lengths = [300, 40, 150, 75]
    whole = [CropSampler(lengths, 75, seed=3).crop(n) for n in range(40)]
    later = CropSampler(lengths, 75, seed=3)
    assert [later.crop(n) for n in reversed(range(40))] == whole[::-1]
    assert whole != [CropSampler(lengths, 75, seed=4).crop(n) for n in range(40)]


def test_crops_lie_inside_their_segments_and_share_by_length():
    lengths = [300, 40, 150, 75]
    sampler = CropSampler(lengths, 75, seed=0)
    epoch = len(sampler)
    crops = [sampler.crop(n) for n in range(epoch * 50)]
    for crop in crops:
        assert 0 <= crop.start <= max(0, lengths[crop.segment] - 75)
    assert Counter(c.segment for c in crops) == {0: 200, 1: 50, 2: 100, 3: 50}
    assert len({c.start for c in crops if c.segment == 0}) > 50


def test_every_epoch_has_its_own_order():
    sampler = CropSampler([75] * 20, 75, seed=0)
    epochs = [[sampler.crop(e * 20 + n).segment for n in range(20)] for e in range(3)]
    assert all(sorted(order) == list(range(20)) for order in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_nothing_to_sample_is_an_error():
    with pytest.raises(ValueError, match="no segment"):
        CropSampler([], 75, 0)


def test_hold_out_divides_and_ignores_the_order_of_listing():
    ids = [f"u{n}" for n in range(50)]
    kept, held = hold_out(ids, 0.1, 100, seed=0)
    assert sorted(kept + held) == list(range(50))
    assert len(held) == 5
    reversed_kept, reversed_held = hold_out(ids[::-1], 0.1, 100, seed=0)
    assert [ids[i] for i in held] == [ids[::-1][i] for i in reversed_held]
    assert len(reversed_kept) == 45
    assert hold_out(["only"], 0.1, 100, 0) == ([0], [])


def test_held_out_segments_are_few_and_lie_all_over_a_large_set():
    """As LibriLight's would: 40 shards of 500 segments, of which 2 % would be 400."""
    ids = [f"{shard:02d}/{row:03d}" for shard in range(40) for row in range(500)]
    kept, held = hold_out(ids, 0.02, 16, seed=0)
    assert (kept, held) == hold_out(ids, 0.02, 16, seed=0)
    assert len(held) == 16
    assert sorted(kept + held) == list(range(len(ids)))
    shards = [index // 500 for index in held]
    assert len(set(shards)) >= 10
    assert len(set(shards[:4])) >= 3
    assert min(shards) < 10
    assert max(shards) >= 30
