"""Workers that die, and workers that cannot be had; starts that do not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from resyn.errors import PassingFault, RunError, UserError
from resyn.presets import preset
from resyn.runtime.ray_train import fit
from resyn.runtime.worker_watch import WorkerWatch, capacity
from resyn.training.checkpoint import CheckpointStore
from resyn.training.plan import plan_training
from tests.runtime.conftest import debug_config
from tests.runtime.test_training import Stop, same, train
from tests.runtime.train_faults import killer, steps_of

VALUES = {"steps": 12, "run.checkpoint_every": 3, "batch.batch_seconds": 31, "optim.ema_decay": 0.9}


def test_a_killed_worker_costs_a_restart_and_changes_nothing(ray_cluster, tiny_shards, tmp_path):
    """Three steps of the torch engine in one process, then DeepSpeed in an elastic group of two
    with unequal shares of 31 crops, one of whom dies after step 6: the end is that of one process
    left alone."""
    straight = train(tiny_shards, tmp_path / "alone", **VALUES)
    with pytest.raises(Stop):
        train(tiny_shards, tmp_path / "killed", stop_at=3, **VALUES)
    values = {"run.engine": "deepspeed", "run.num_workers": "1:2"}
    config = debug_config(tiny_shards, tmp_path / "killed", **VALUES, **values)
    lines: list[str] = []
    with killer(tmp_path / "killed", 6, rank=1) as killed:
        result = fit(config, lines.append)
    assert len(killed) == 1
    assert sum("lost worker" in line for line in lines) == 1
    resumed = [int(line.rsplit(" ", 1)[-1]) for line in lines if "resuming at step" in line]
    assert resumed[0] == 3
    assert resumed[1] in (6, 9)
    steps = steps_of(lines)
    assert sorted(set(steps)) == list(range(4, 13))
    assert len(steps) - len(set(steps)) <= 3
    assert any("step 12/12" in line and "ETA" in line for line in lines)
    assert result.metrics["loss"] == pytest.approx(straight[0].metrics["loss"], abs=1e-4)
    end = CheckpointStore(str(tmp_path / "killed")).latest()
    assert same(end.weights, straight[1].weights, atol=1e-4)
    assert same(end.ema, straight[1].ema, atol=1e-4)
    assert "nothing to do" in (fit(config, lines.append), lines[-1])[1]


@pytest.mark.parametrize("workers", [3, "3:4"])
def test_workers_that_the_cluster_lacks_are_waited_for_and_then_not(
    ray_cluster, tiny_shards, tmp_path, workers
):
    config = debug_config(tiny_shards, tmp_path / "out")
    lines: list[str] = []
    lack = "3 workers of 1 CPU each: the cluster has 2 CPU and 0 GPU on 1 node, room for 2; add"
    with pytest.raises(
        RunError, match=rf"no workers in 2 s \(run\.worker_timeout\): {lack}"
    ) as end:
        fit(config.override({"run.num_workers": workers, "run.worker_timeout": 2}), lines.append)
    assert "\n" not in str(end.value)
    assert len(lines) == 1
    assert lines[0].startswith(f"waiting for {lack}")
    assert not (tmp_path / "out").exists()


def test_an_outage_of_the_store_is_left_to_a_restart_and_a_refusal_is_not():
    said: list[str] = []
    board = SimpleNamespace(push=SimpleNamespace(remote=said.append))
    watch = WorkerWatch(board, 2, {"CPU": 1.0}, 10)
    passing = PassingFault("s3://run/step-5: the store answered 503; the same command resumes")
    watch.after_worker_group_poll_status(SimpleNamespace(errors={0: passing}))
    assert said == [f"lost worker 0 ({passing})"]
    for error in (RunError("access denied"), UserError("no such key")):
        with pytest.raises(type(error), match=str(error)):
            watch.after_worker_group_poll_status(SimpleNamespace(errors={1: passing, 0: error}))


def test_room_is_counted_node_by_node():
    needs = {"CPU": 4, "GPU": 1}
    assert capacity({"CPU": 16, "GPU": 2}, needs) == 2
    assert capacity({"CPU": 7, "GPU": 2}, needs) == 1
    assert capacity({"CPU": 64}, needs) == 0
    assert capacity({"CPU": 3.5}, {"CPU": 1, "GPU": 0}) == 3


def test_starts_that_do_not_fit_are_refused_before_any_work(tiny_shards, tmp_path, trained):
    def refused(match: str, start: Path, **values: object) -> None:
        config = debug_config(tiny_shards, tmp_path / "out", init_from=str(start), **values)
        with pytest.raises(UserError, match=match) as caught:
            plan_training(config)
        assert "\n" not in str(caught.value)

    refused("holds a model of method 'sb', not 'c2f'", trained, method={"name": "c2f"})
    refused(r"another shape \(model\.dim: 64 → 32\)", trained, **{"model.dim": 32})
    other = shutil.copytree(trained, tmp_path / "other")
    for file in other.glob("checkpoints/*/config.json"):
        file.write_text(file.read_text().replace('"num_codebooks": 8', '"num_codebooks": 9'))
    refused(r"another codec than the shards' \(num_codebooks: 9 → 8\)", other)
    refused("no checkpoint here", tmp_path / "nowhere")
    plan_training(debug_config(tiny_shards, tmp_path / "out", init_from=str(trained)))
    assert not (tmp_path / "out").exists()


def test_shards_without_a_segment_are_refused(tiny_shards, tmp_path):
    """Committed, but everything in them was quarantined."""
    for file in tiny_shards.rglob("*"):
        copy = tmp_path / "empty" / file.relative_to(tiny_shards)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.is_file():
            copy.write_bytes(file.read_bytes())
    for record in (tmp_path / "empty" / "ledger").iterdir():
        record.write_text(json.dumps(json.loads(record.read_text()) | {"rows": 0}))
    config = preset("debug", "sb").override(
        {"shards": str(tmp_path / "empty"), "output": str(tmp_path / "out")}
    )
    with pytest.raises(UserError, match="holds no committed shards"):
        plan_training(config)
