"""Training as a whole: stop anywhere, same curve; wrong calls end before any work."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from pipelines.train import main
from resyn.errors import RunError, UserError
from resyn.presets import preset
from resyn.runtime.ray_train import train_in_process
from resyn.training.checkpoint import CheckpointStore
from resyn.training.plan import plan_training
from tests.runtime.conftest import debug_config
from tests.tiny_shards import write_tiny_shards


class Stop(Exception):
    """Raised in place of a lost machine."""


def train(shards: Path, output: Path, stop_at: int | None = None, **values: object):
    """Six steps with a checkpoint every third; returns the weights and the losses by step."""
    config = debug_config(shards, output, **{"steps": 6, "run.checkpoint_every": 3, **values})
    lines: list[str] = []

    def on_metrics(step: int, metrics: Mapping[str, float]) -> None:
        if step == stop_at:
            raise Stop

    result = train_in_process(config, on_metrics, lines.append)
    checkpoint = CheckpointStore(str(output)).latest()
    return result, checkpoint, lines


def same(left: Mapping[str, torch.Tensor], right: Mapping[str, torch.Tensor], atol: float) -> bool:
    return left.keys() == right.keys() and all(
        torch.allclose(left[name].float(), right[name].float(), atol=atol) for name in left
    )


@pytest.fixture(scope="module")
def whole(tiny_shards, tmp_path_factory):
    """An uninterrupted run without averaging, on the torch engine."""
    output = tmp_path_factory.mktemp("whole")
    return train(tiny_shards, output, **{"optim.ema_decay": 0})


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_a_run_cut_short_and_resumed_equals_an_uninterrupted_one(tiny_shards, tmp_path, decay):
    values = {"optim.ema_decay": decay}
    straight = train(tiny_shards, tmp_path / "straight", **values)
    with pytest.raises(Stop):
        train(tiny_shards, tmp_path / "cut", stop_at=3, **values)
    resumed = train(tiny_shards, tmp_path / "cut", **values)
    assert "resuming at step 3" in resumed[2][0]
    assert straight[0].metrics == resumed[0].metrics
    for kind in ("weights", "ema", "moments"):
        assert same(getattr(straight[1], kind), getattr(resumed[1], kind), atol=0)


def test_a_run_told_to_stop_at_a_step_keeps_its_schedule(tiny_shards, tmp_path, whole):
    values = {"optim.ema_decay": 0, "run.checkpoint_every": 100}
    for _ in range(2):
        stopped, checkpoint, _ = train(tiny_shards, tmp_path, **values, **{"run.stop_at_step": 4})
        assert stopped.step == checkpoint.step == 4
        assert stopped.checkpoint.endswith("4")
    resumed = train(tiny_shards, tmp_path, **values)
    assert resumed[0].metrics == whole[0].metrics
    assert same(resumed[1].weights, whole[1].weights, atol=0)
    assert same(resumed[1].moments, whole[1].moments, atol=0)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_deepspeed_takes_over_a_run_of_the_torch_engine(tiny_shards, tmp_path, whole, stage):
    values = {"optim.ema_decay": 0}
    with pytest.raises(Stop):
        train(tiny_shards, tmp_path, stop_at=3, **values)
    values |= {"run.engine": "deepspeed", "run.zero_stage": stage}
    if stage == 2:
        values |= {"run.deepspeed_config": "cluster/deepspeed/zero2.json"}
    result, checkpoint, _ = train(tiny_shards, tmp_path, **values)
    assert result.metrics["loss"] == pytest.approx(whole[0].metrics["loss"], abs=1e-5)
    assert same(checkpoint.weights, whole[1].weights, atol=1e-5)
    assert same(checkpoint.moments, whole[1].moments, atol=1e-5)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good(tiny_shards, tmp_path):
    with pytest.raises(RunError, match=r"step \d+: the loss is (nan|inf)"):
        train(tiny_shards, tmp_path, **{"optim.lr": 1e30, "optim.gradient_clip": 1e30})
    latest = CheckpointStore(str(tmp_path)).latest()
    assert latest is None or all(torch.isfinite(v).all() for v in latest.weights.values())


def test_a_finished_run_may_be_extended(tiny_shards, tmp_path):
    train(tiny_shards, tmp_path)
    result, checkpoint, _ = train(tiny_shards, tmp_path, steps=9)
    assert result.step == checkpoint.step == 9


def test_coarse_to_fine_needs_codes_alone(tmp_path):
    shards = write_tiny_shards(tmp_path / "codes", "demo_24khz", ("codes",))
    config = preset("debug", "c2f").override(
        {
            "shards": str(shards),
            "output": str(tmp_path / "out"),
            "run.engine": "torch",
            "run.num_workers": 0,
            "tracking.uri": "off",
        }
    )
    first = train_in_process(config.override({"steps": 1}), say=lambda line: None)
    last = train_in_process(config.override({"steps": 40}), say=lambda line: None)
    assert last.metrics["loss"] < first.metrics["loss"]


def test_a_run_starts_from_the_weights_of_another(tiny_shards, tmp_path, trained):
    start = CheckpointStore(str(trained)).latest()
    config = debug_config(
        tiny_shards, tmp_path, init_from=str(trained), steps=1, **{"optim.lr": 1e-30}
    )
    train_in_process(config, say=lambda line: None)
    assert same(CheckpointStore(str(tmp_path)).latest().weights, start.ema, atol=1e-6)


def test_wrong_calls_end_before_any_work(tiny_shards, tmp_path, trained):
    def refused(match: str, shards: Path, output: Path, **values: object) -> None:
        with pytest.raises(UserError, match=match) as caught:
            plan_training(debug_config(shards, output, **values))
        assert "\n" not in str(caught.value)

    refused("no such folder", tmp_path / "nowhere", tmp_path / "out")
    refused(
        "codec 'encodec_24khz_random', not 'demo_24khz'",
        tiny_shards,
        tmp_path / "out",
        codec="demo_24khz",
    )
    refused(r"other settings \(optim.lr: 0.001 → 0.5\)", tiny_shards, trained, **{"optim.lr": 0.5})
    refused("audio", tiny_shards, tmp_path / "out", method={"name": "codec"})
    refused(
        "cannot average",
        tiny_shards,
        tmp_path / "out",
        **{"run.engine": "deepspeed", "run.zero_stage": 3},
    )
    assert not (tmp_path / "out").exists()


def test_resuming_on_other_shards_is_refused(tmp_path, trained):
    other = write_tiny_shards(tmp_path / "other", "demo_24khz")
    with pytest.raises(UserError, match="other shards"):
        plan_training(debug_config(other, trained))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--set", "optim.lrr=1"], "did you mean 'lr'"),
        (["--set", "optim.lr=quick"], "optim.lr"),
        (["--shards", "nowhere"], "no such folder"),
        (["--codec", "demo_24khz"], "not 'demo_24khz'"),
        (["--method", "sbb"], "known: c2f"),
        (["--preset", "huge"], "known: debug"),
        (["--deepspeed-config", "README.md"], "README.md: is no JSON"),
        (["--register", "m", "--tracking-uri", "off"], "--register m: models need a store"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(tiny_shards, tmp_path, arguments, word):
    command = [sys.executable, "pipelines/train.py", "--method", "sb", "--preset", "debug"]
    command += ["--shards", str(tiny_shards), "--output", str(tmp_path / "out"), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert word in errors[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("method", "millions"), [("c2f", "213.2M"), ("onestep", "206.0M"), ("sb", "206.1M")]
)
def test_dry_run_counts_the_paper_size(tiny_shards, tmp_path, capsys, method, millions):
    call = ["--method", method, "--dry-run", "--shards", str(tiny_shards)]
    main([*call, "--output", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert f"{millions} parameters" in printed
    assert "800 s" in printed
    assert not (tmp_path / "out").exists()


def test_checkpoints_hold_no_places_that_training_depends_on(trained):
    config = json.loads(next((trained / "checkpoints").rglob("config.json")).read_text())
    assert (
        preset("debug", "sb").recipe()
        == type(preset("debug", "sb")).parse(config["train"]).recipe()
    )
