"""What a run leaves on disk and in MLflow when it is cut short, damaged, or goes wrong."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient

from resyn.data.shards import ShardReader
from resyn.errors import RunError
from resyn.runtime.models import resolve_model, run_checkpoint
from resyn.runtime.ray_train import fit, train_in_process
from resyn.training.checkpoint import CheckpointStore, folder_name, latest_folder
from resyn.training.data import BatchPlan, TrainingData
from resyn.training.plan import plan_training
from tests.runtime.conftest import debug_config
from tests.s3_proxy import S3
from tests.tiny_shards import write_tiny_shards

SIX = {"steps": 6, "run.checkpoint_every": 3}


class Stop(Exception):
    """Raised in place of a lost machine."""


def stop_after(step: int):
    """A `say` that dies when `step` is told."""

    def say(line: str) -> None:
        if f"step {step}/" in line:
            raise Stop

    return say


def weights(output: Path | str) -> dict[str, torch.Tensor]:
    checkpoint = CheckpointStore(str(output)).latest()
    assert checkpoint is not None
    return {**checkpoint.weights, **{f"ema.{k}": v for k, v in checkpoint.ema.items()}}


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def test_a_damaged_end_is_trained_again(tiny_shards, tmp_path):
    config = debug_config(tiny_shards, tmp_path, **SIX)
    whole = fit(config, lambda line: None)
    made = weights(tmp_path)
    file = tmp_path / "checkpoints" / folder_name(6) / "optimizer.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.warns(UserWarning, match="optimizer.*falling back"):
        assert plan_training(config).done_steps == 3
    lines: list[str] = []
    with pytest.warns(UserWarning, match="optimizer.*falling back"):
        again = fit(config, lines.append)
    assert "optimizer.safetensors" in lines[0]
    assert "resuming at step 3" in lines[1]
    assert (again.metrics, again.checkpoint) == (whole.metrics, whole.checkpoint)
    assert equal(weights(tmp_path), made)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plan_training(config).complete


@pytest.mark.parametrize("every", [1, 3])
def test_a_loss_that_is_not_finite_is_dated_to_its_step_and_batch(tiny_shards, tmp_path, every):
    values = {"optim.lr": 1e30, "optim.gradient_clip": 1e30, "run.log_every": 50}
    config = debug_config(
        tiny_shards, tmp_path, **values, **{"steps": 6, "run.checkpoint_every": every}
    )
    with pytest.raises(RunError, match=r"step 2: .*examples 4 to 7 .*good checkpoint") as caught:
        train_in_process(config, say=lambda line: None)
    assert "\n" not in str(caught.value)
    data = TrainingData(config, ShardReader(str(tiny_shards)))
    report = json.loads((tmp_path / "checkpoints" / "nonfinite.json").read_text())
    assert report["utt_ids"] == data.utt_ids(1, BatchPlan.divide(config.batch, 1))
    assert len(report["utt_ids"]) == 4
    store = CheckpointStore(str(tmp_path))
    assert store.folders() == ([folder_name(1)] if every == 1 else [])
    if every == 1:
        assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


def test_weights_that_a_step_has_broken_are_never_saved(tiny_shards, tmp_path, monkeypatch):
    """The loss of step 3 is finite, its update is not; nobody has logged since step 0."""
    from resyn.training.engine import TorchEngine

    step = TorchEngine.step
    taken: list[float] = []

    def breaking(self: TorchEngine, lr: float) -> None:
        step(self, lr)
        taken.append(lr)
        if len(taken) == 3:
            with torch.no_grad():
                next(self.network.parameters()).view(-1)[0] = torch.inf

    monkeypatch.setattr(TorchEngine, "step", breaking)
    config = debug_config(
        tiny_shards, tmp_path, **{"steps": 6, "run.checkpoint_every": 3, "run.log_every": 50}
    )
    with pytest.raises(RunError, match=r"step 3: .* is no longer finite, on examples 8 to 11"):
        train_in_process(config, say=lambda line: None)
    assert CheckpointStore(str(tmp_path)).folders() == []


def test_raw_and_averaged_weights_are_validated_and_heard(tmp_path):
    shards = write_tiny_shards(tmp_path / "demo", "demo_24khz")
    output = tmp_path / "out"
    config = debug_config(shards, output, **{"run.validate_every": 2, "run.checkpoint_every": 4})
    lines: list[str] = []
    result = train_in_process(config, say=lines.append)
    figures = {"loss", "latent_error", "estoi"}
    kinds = {f"{kind}_{name}" for kind in ("validation", "raw_validation") for name in figures}
    assert kinds <= result.metrics.keys()
    assert all(
        result.metrics[f"raw_validation_{n}"] != result.metrics[f"validation_{n}"] for n in figures
    )
    assert -1 <= result.metrics["validation_estoi"] <= 1
    assert [line.split()[2] for line in lines if "validation_loss" in line] == ["2", "4"]
    assert not any("validation" in line for line in lines if "examples/s" in line)
    alone = train_in_process(
        debug_config(shards, tmp_path / "raw", **{"optim.ema_decay": 0}), say=lambda line: None
    )
    assert not any(name.startswith("raw_") for name in alone.metrics)
    assert alone.metrics["validation_estoi"] == result.metrics["raw_validation_estoi"]
    assert result.best == result.checkpoint == latest_folder(f"{output}@best")


def test_the_best_goes_by_its_name(trained, store_uri, tiny_shards, tmp_path):
    best = latest_folder(f"{trained}@best")
    assert resolve_model(f"{trained}@best") == best
    config = debug_config(tiny_shards, tmp_path / "run", **{"tracking.uri": store_uri, **SIX})
    result = fit(config, lambda line: None)
    client = MlflowClient(tracking_uri=store_uri)
    assert run_checkpoint(client, f"{result.run_id}@best") == result.best
    assert run_checkpoint(client, str(result.run_id)) == result.checkpoint
    states = [
        (state["metrics"]["validation_latent_error"], name)
        for name, state in CheckpointStore(config.output).sound().items()
    ]
    assert result.best is not None
    assert result.best.endswith(min(states)[1])


@pytest.mark.parametrize("killed_at", [2, 5])
def test_a_run_cut_short_goes_on_in_its_mlflow_run(tiny_shards, store_uri, tmp_path, killed_at):
    """At 2 there is no checkpoint yet; from 5 two steps are done again, and told once."""
    config = debug_config(tiny_shards, tmp_path / "run", **{"tracking.uri": store_uri, **SIX})
    with pytest.raises(Stop):
        train_in_process(config, say=stop_after(killed_at))
    result = fit(config, lambda line: None)
    client = MlflowClient(tracking_uri=store_uri)
    (run,) = client.search_runs(["1"], run_view_type=ViewType.ALL)
    assert run.info.run_id == result.run_id
    assert run.info.status == "FINISHED"
    for name, steps in {"loss": range(1, 7), "validation_loss": (3, 6)}.items():
        history = client.get_metric_history(run.info.run_id, name)
        assert [metric.step for metric in history] == list(steps)
    state = CheckpointStore(config.output).latest_state()
    assert state is not None
    assert state["mlflow_run_id"] == result.run_id


def test_another_recipe_in_the_same_place_is_another_mlflow_run(tiny_shards, store_uri, tmp_path):
    config = debug_config(tiny_shards, tmp_path / "run", **{"tracking.uri": store_uri, **SIX})
    with pytest.raises(Stop):
        train_in_process(config, say=stop_after(1))
    fit(config.override({"seed": 1}), lambda line: None)
    runs = MlflowClient(tracking_uri=store_uri).search_runs(["1"])
    assert sorted(run.data.params["seed"] for run in runs) == ["0", "1"]


def test_a_run_in_a_bucket_outlives_a_refused_checkpoint(s3: S3, tiny_shards, tmp_path):
    s3.put("runs")
    straight = debug_config(tiny_shards, tmp_path / "straight", **SIX)
    whole = fit(straight, lambda line: None)
    config = debug_config(tiny_shards, tmp_path, **SIX).override({"output": "s3://runs/sb"})
    s3.fault("PUT", f"*{folder_name(6)}/ema*", "403", times=100)
    with pytest.raises(RunError, match=f"{folder_name(6)}: access denied"):
        fit(config, lambda line: None)
    s3.calm()
    lines: list[str] = []
    again = fit(config, lines.append)
    assert "resuming at step 3" in lines[0]
    assert again.metrics == whole.metrics
    assert equal(weights("s3://runs/sb"), weights(straight.output))
    assert "nothing to do" in (fit(config, lines.append), lines[-1])[1]


@pytest.mark.parametrize("stage", [1, 3])
def test_torch_takes_over_a_run_of_deepspeed(tiny_shards, tmp_path, stage):
    values = {**SIX, "optim.ema_decay": 0}
    whole = debug_config(tiny_shards, tmp_path / "whole", **values)
    fit(whole, lambda line: None)
    config = debug_config(tiny_shards, tmp_path / "cut", **values)
    sharded = {"run.engine": "deepspeed", "run.zero_stage": stage}
    with pytest.raises(Stop):
        train_in_process(config.override(sharded), say=stop_after(4))
    fit(config, lambda line: None)
    for name, value in weights(config.output).items():
        assert torch.allclose(value, weights(whole.output)[name], atol=1e-5)
