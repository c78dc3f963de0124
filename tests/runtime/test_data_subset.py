"""The subsets of Table 2: nested shares of the training segments, judged like all of them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from resyn.config.train import TrainConfig
from resyn.data.sampler import take_share
from resyn.data.shards import ShardReader
from resyn.training.data import TrainingData
from tests.runtime.conftest import debug_config


def test_a_share_is_nested_near_its_size_and_never_empty():
    frames = np.random.default_rng(0).integers(100, 3000, 400)
    indices = list(range(0, 400, 2))
    total = frames[indices].sum()
    shares = [1e-9, 1 / 60, 0.2, 0.5, 0.9, 1.0]
    taken = [take_share(indices, frames, share, seed=3) for share in shares]
    assert len(taken[0]) == 1
    assert taken[-1] == indices
    for smaller, larger in pairwise(taken):
        assert set(smaller) <= set(larger)
    for share, part in zip(shares[1:], taken[1:], strict=True):
        assert abs(frames[part].sum() - share * total) <= 1500
    assert taken[1] == take_share(indices, frames, 1 / 60, seed=3)
    assert taken[1] != take_share(indices, frames, 1 / 60, seed=4)


def test_a_subset_trains_on_its_own_segments_and_is_judged_like_all(tiny_shards: Path, tmp_path):
    reader = ShardReader(str(tiny_shards))
    whole, part = (
        TrainingData(debug_config(tiny_shards, tmp_path, subset=share), reader)
        for share in (1, "2/5")
    )
    assert set(part.kept) < set(whole.kept)
    assert len(part.kept) == 2
    drawn = {part.kept[part.sampler.crop(example).segment] for example in range(100)}
    assert drawn == set(part.kept)
    assert part.held == whole.held
    assert part.space is not None
    assert whole.space is not None
    assert (part.space.std == whole.space.std).all()


def test_a_subset_is_another_recipe_and_all_is_the_one_there_was():
    tree = {"name": "sb"}
    plain, all_of_it, part = (
        TrainConfig(method=tree, **more) for more in ({}, {"subset": 1}, {"subset": "1/60"})
    )
    assert part.subset == pytest.approx(1 / 60)
    assert plain.recipe() == all_of_it.recipe() != part.recipe()
    # A run begun before there were subsets has this fingerprint.
    assert plain.recipe() == TrainConfig.parse(plain.model_dump(exclude={"subset"})).recipe()
