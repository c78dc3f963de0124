"""What a checkpoint's folder promises."""

from __future__ import annotations

import errno
import math
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from resyn.errors import RunError, UserError
from resyn.storage import Storage, open_storage
from resyn.training.checkpoint import (
    Checkpoint,
    CheckpointStore,
    folder_name,
    latest_folder,
    load_checkpoint,
)
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


def test_no_checkpoint_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="no checkpoint here"):
        latest_folder(str(tmp_path))


def judged(step: int, **figures: float) -> Checkpoint:
    made = checkpoint(step)
    metrics = {f"validation_{name}": value for name, value in figures.items()}
    return replace(made, state={**made.state, "metrics": metrics, "validated_step": step})


def spoil(store: CheckpointStore, name: str, how: str) -> None:
    data = bytearray(store.storage.read_bytes(name))
    store.storage.remove(name)
    if how == "flip":
        data[-1] ^= 1
    if how != "delete":
        store.storage.write_bytes(name, bytes(data[: len(data) // 2] if how == "cut" else data))


@pytest.mark.parametrize(
    ("metric", "best"),
    [(None, 2), ("validation_latent_error", 2), ("validation_loss", 4), ("validation_estoi", 1)],
)
def test_the_best_is_kept_beside_the_newest(tmp_path, metric, best):
    store = CheckpointStore(str(tmp_path), keep=1, best_metric=metric)
    rows = [
        (0.9, 5.0, 0.8),
        (0.2, 6.0, 0.1),
        (0.2, 4.0, 0.3),
        (0.3, 3.0, 0.2),
        (0.4, 3.5, math.nan),
    ]
    for step, (error, loss, estoi) in enumerate(rows, start=1):
        store.save(judged(step, latent_error=error, loss=loss, estoi=estoi))
    assert store.folders() == sorted({folder_name(best), folder_name(5)})
    assert store.storage.read_json("best.json")["checkpoint"] == folder_name(best)
    assert latest_folder(str(tmp_path)).endswith(folder_name(5))
    assert latest_folder(f"{tmp_path}@best").endswith(folder_name(best))


def test_figures_of_an_earlier_step_make_no_best(tmp_path):
    store = CheckpointStore(str(tmp_path))
    store.save(judged(1, loss=2.0))
    stale = judged(2, loss=1.0)
    store.save(replace(stale, state={**stale.state, "validated_step": 1}))
    assert store.best() == folder_name(1)


@pytest.mark.parametrize("last", ["state.json", "best.json"])
def test_a_writer_killed_before_the_mark_loses_nothing(tmp_path, monkeypatch, last):
    """Dies right before its write of `last`; the next writer finds the best all the same."""
    store = CheckpointStore(str(tmp_path), keep=1)
    store.save(judged(1, loss=3.0))
    write = Storage.write_bytes

    def dying(self: Storage, name: str, data: bytes) -> None:
        if name == last:
            raise SystemExit
        write(self, name, data)

    with monkeypatch.context() as patched:
        patched.setattr(Storage, "write_bytes", dying)
        with pytest.raises(SystemExit):
            store.save(judged(2, loss=1.0))
    after = CheckpointStore(str(tmp_path), keep=1)
    committed = 2 if last == "best.json" else 1
    assert after.latest().step == committed
    assert after.best() == folder_name(1)
    assert after.mark_best() == folder_name(committed)
    after.save(judged(3, loss=2.0))
    best = committed if committed == 2 else 3
    assert after.best() == folder_name(best)
    assert after.folders() == sorted({folder_name(best), folder_name(3)})
    assert sorted(after.storage.names()) == ["best.json", *after.folders()]


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("how", ["flip", "cut", "delete"])
def test_everything_follows_the_checkpoint_that_is_fallen_back_to(tmp_path, file, how):
    store = CheckpointStore(str(tmp_path), keep=1)
    store.save(judged(1, loss=2.0))
    store.save(judged(2, loss=3.0))
    spoil(store, f"{folder_name(2)}/{file}", how)
    after = CheckpointStore(str(tmp_path), keep=1)
    warned = (file, how) != ("state.json", "delete")
    expected = pytest.warns(UserWarning, match=file) if warned else nullcontext()
    with expected:
        assert after.latest_state(verify=True)["step"] == 1
    assert after.latest().step == 1
    after.save(judged(2, loss=1.0))
    assert CheckpointStore(str(tmp_path)).latest().step == 2
    assert after.folders() == [folder_name(2)]


def test_a_damaged_future_never_pushes_out_a_good_checkpoint(tmp_path):
    store = CheckpointStore(str(tmp_path), keep=3)
    for step in (3, 6, 9):
        store.save(checkpoint(step))
    for step in (6, 9):
        spoil(store, f"{folder_name(step)}/model.safetensors", "flip")
    after = CheckpointStore(str(tmp_path), keep=1)
    with pytest.warns(UserWarning, match="damaged"):
        assert after.latest().step == 3
    after.save(checkpoint(5))
    assert after.folders() == [folder_name(5)]
    assert after.latest().step == 5


def test_a_model_is_never_taken_from_a_cut_file(tmp_path):
    store = CheckpointStore(str(tmp_path))
    store.save(checkpoint(1))
    store.save(checkpoint(2))
    spoil(store, f"{folder_name(2)}/model.safetensors", "cut")
    with pytest.warns(UserWarning, match="falling back"):
        assert latest_folder(str(tmp_path)).endswith(folder_name(1))


def test_no_best_is_one_clear_line(tmp_path):
    CheckpointStore(str(tmp_path)).save(checkpoint(1))
    with pytest.raises(UserError, match="marked as best"):
        latest_folder(f"{tmp_path}@best")


def test_a_full_disk_ends_in_one_line_and_keeps_what_was_there(tmp_path, monkeypatch):
    store = CheckpointStore(str(tmp_path))
    store.save(checkpoint(1))

    def full(self: Storage, name: str, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Storage, "write_bytes", full)
        with pytest.raises(RunError, match="no space left") as caught:
            store.save(checkpoint(2))
    assert "\n" not in str(caught.value)
    assert CheckpointStore(str(tmp_path)).latest().step == 1
