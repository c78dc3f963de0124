"""`--profile`: a trace and tables of what a step spends its time on."""

from __future__ import annotations

import json
import re

import pytest
from mlflow import MlflowClient

from resyn.runtime.ray_train import train_in_process
from resyn.training.profile import TOP
from tests.runtime.conftest import debug_config

PARTS = ["data wait", "forward", "backward", "optimiser", "average"]


def test_a_profile_names_parts_and_operators(tiny_shards, tmp_path):
    lines: list[str] = []
    values = {"steps": 7, "run.profile": 2, "run.checkpoint_every": 7}
    train_in_process(debug_config(tiny_shards, tmp_path, **values), say=lines.append)
    text = (tmp_path / "profile" / "profile.md").read_text()
    assert any(text in line for line in lines)
    times = dict(re.findall(r"^\| ([\w ]+) \| ([\d.-]+) \|", text, re.MULTILINE))
    assert [name for name in times if name in PARTS] == PARTS
    spent = {name: float(value) for name, value in times.items()}
    assert sum(spent[name] for name in [*PARTS, "rest"]) == pytest.approx(spent["step"], abs=0.05)
    shares = [
        float(value) for value in re.findall(r"([\d.]+)% \|$", text.split("operator")[1], re.M)
    ]
    assert len(shares) == TOP
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) <= 100.5
    trace = json.loads((tmp_path / "profile" / "trace.json").read_text())
    names = [event.get("name") for event in trace["traceEvents"] if event.get("ph") == "X"]
    assert names.count("optimiser") == 2
    assert {"forward", "backward", "aten::linear"} <= set(names)


def test_a_run_too_short_to_profile_says_so(tiny_shards, tmp_path):
    lines: list[str] = []
    values = {"steps": 1, "run.profile": 2}
    train_in_process(debug_config(tiny_shards, tmp_path, **values), say=lines.append)
    assert any("warm-up" in line for line in lines)
    assert not (tmp_path / "profile").exists()


def test_progress_says_how_fast_and_how_much(tiny_shards, tmp_path, store_uri):
    lines: list[str] = []
    values = {"steps": 2, "tracking.uri": store_uri}
    result = train_in_process(debug_config(tiny_shards, tmp_path, **values), say=lines.append)
    recorded = MlflowClient(store_uri).get_run(result.run_id).data.metrics
    assert {"examples_per_second", "audio_hours_per_second", "flops_per_second"} <= set(recorded)
    assert recorded["activation_gib"] > 0
    assert recorded["seconds_to_first_step"] > 0
    steps = [line for line in lines if "ETA" in line]
    for word in ("examples/s", "audio-h/s", "TFLOP/s", "activations", "first step after"):
        assert word in steps[0]
    assert "first step after" not in steps[1]
