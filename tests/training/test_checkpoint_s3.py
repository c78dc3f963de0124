"""Checkpoints in an object store that does damage."""

from __future__ import annotations

import warnings

import pytest
import torch

from resyn.errors import RunError
from resyn.training.checkpoint import Checkpoint, CheckpointStore, folder_name
from tests.s3_proxy import S3


def checkpoint(step: int) -> Checkpoint:
    torch.manual_seed(step)
    weights = {"w": torch.randn(64, 64)}
    moments = {"exp_avg.w": torch.randn(64, 64)}
    state = {"step": step, "metrics": {"validation_loss": float(step)}, "validated_step": step}
    return Checkpoint({"method": {"name": "sb"}}, state, weights, moments=moments)


@pytest.fixture
def store(s3: S3, request: pytest.FixtureRequest) -> CheckpointStore:
    """An empty store of the test's own, with one checkpoint."""
    bucket = f"run-{abs(hash(request.node.name)) % 10**9}"
    s3.put(bucket)
    made = CheckpointStore(f"s3://{bucket}/out")
    made.save(checkpoint(1))
    s3.calm()
    return made


def test_the_record_is_the_last_file_and_the_mark_comes_after_it(s3: S3, store: CheckpointStore):
    store.save(checkpoint(2))
    written = [request for request in s3.requests if request.startswith("PUT ")]
    names = [request.rsplit("/", 1)[-1] for request in written]
    assert names == ["config.json", "model.safetensors", "optimizer.safetensors", "state.json"]
    assert store.best() == folder_name(1)
    loaded = store.latest()
    assert torch.equal(loaded.weights["w"], checkpoint(2).weights["w"])
    assert torch.equal(loaded.moments["exp_avg.w"], checkpoint(2).moments["exp_avg.w"])
    store.save(checkpoint(3))
    assert store.folders() == [folder_name(step) for step in (1, 2, 3)]
    store.save(checkpoint(4))
    assert store.folders() == [folder_name(step) for step in (1, 3, 4)]


@pytest.mark.parametrize(
    ("file", "damage"),
    [("model.safetensors", "503"), ("model.safetensors", "reset"), ("state.json", "lost")],
)
def test_a_fault_that_passes_is_ridden_out(s3: S3, store: CheckpointStore, file, damage):
    fault = s3.fault("PUT", f"*{file}", damage)
    store.save(checkpoint(2))
    assert fault.met.is_set()
    s3.fault("GET", f"*{file}", damage)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.latest().step == 2


@pytest.mark.parametrize("file", ["optimizer.safetensors", "state.json"])
def test_a_refusal_ends_in_one_line_and_keeps_the_one_before(s3: S3, store: CheckpointStore, file):
    s3.fault("PUT", f"*{file}", "403", times=100)
    with pytest.raises(RunError, match="access denied") as caught:
        store.save(checkpoint(2))
    assert "\n" not in str(caught.value)
    s3.calm()
    assert store.latest().step == 1
    store.save(checkpoint(2))
    assert CheckpointStore(store.storage.uri.removesuffix("/checkpoints")).latest().step == 2


def test_a_store_out_of_reach_is_no_damage(s3: S3, store: CheckpointStore):
    """Falling back to an older checkpoint would throw work away."""
    store.save(checkpoint(2))
    s3.fault("GET", "*model.safetensors", "403", times=100)
    with pytest.raises(RunError, match="access denied"):
        CheckpointStore(store.storage.uri.removesuffix("/checkpoints")).latest()


def test_old_ones_that_may_not_be_deleted_are_no_reason_to_stop(s3: S3, store: CheckpointStore):
    store.save(checkpoint(2))
    store.save(checkpoint(3))
    s3.fault("DELETE", "*", "403", times=100)
    s3.fault("POST", "*", "403", times=100)
    with pytest.warns(UserWarning, match="old checkpoints stay"):
        store.save(checkpoint(4))
    assert store.latest().step == 4
