"""What a checkpoint's folder promises."""

from __future__ import annotations

import pytest
import torch

from resyn.errors import UserError
from resyn.storage import open_storage
from resyn.training.checkpoint import Checkpoint, CheckpointStore, latest_folder, load_checkpoint
from resyn.types import LatentSpace


def checkpoint(step: int) -> Checkpoint:
    torch.manual_seed(step)
    weights = {"w": torch.randn(3, 4), "b": torch.randn(4)}
    space = LatentSpace(torch.randn(2, 5, 3), torch.randn(3), torch.rand(3))
    return Checkpoint(
        {"method": {"name": "sb"}},
        {"step": step, "recipe": "r"},
        weights,
        {name: value + 1 for name, value in weights.items()},
        {f"exp_avg.{name}": value * 2 for name, value in weights.items()},
        space,
    )


def test_save_and_load_are_inverse(tmp_path):
    store = CheckpointStore(str(tmp_path))
    saved = checkpoint(5)
    uri = store.save(saved)
    loaded = load_checkpoint(open_storage(uri))
    for kind in ("weights", "ema", "moments"):
        mine, theirs = getattr(saved, kind), getattr(loaded, kind)
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert loaded.step == 5
    assert torch.equal(loaded.space.codebooks, saved.space.codebooks)
    assert not load_checkpoint(open_storage(uri), optimizer=False).moments


def test_only_the_newest_are_kept(tmp_path):
    store = CheckpointStore(str(tmp_path), keep=2)
    for step in (1, 2, 3):
        store.save(checkpoint(step))
    assert store.folders() == ["step-00000002", "step-00000003"]
    assert latest_folder(str(tmp_path)).endswith("step-00000003")


def test_a_folder_that_was_never_committed_does_not_exist(tmp_path):
    store = CheckpointStore(str(tmp_path))
    store.save(checkpoint(1))
    store.save(checkpoint(2))
    store.storage.remove("step-00000002/state.json")
    assert store.latest().step == 1


@pytest.mark.parametrize("damage", ["flip", "delete"])
def test_a_damaged_latest_falls_back_with_a_warning(tmp_path, damage):
    store = CheckpointStore(str(tmp_path))
    store.save(checkpoint(1))
    store.save(checkpoint(2))
    name = "step-00000002/model.safetensors"
    data = bytearray(store.storage.read_bytes(name))
    data[-1] ^= 1
    store.storage.remove(name)
    if damage == "flip":
        store.storage.write_bytes(name, bytes(data))
    with pytest.warns(UserWarning, match=r"model\.safetensors.*falling back"):
        assert store.latest().step == 1


def test_no_checkpoint_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="no checkpoint here"):
        latest_folder(str(tmp_path))
