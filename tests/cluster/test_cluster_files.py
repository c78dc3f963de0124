"""Ray itself accepts the cluster files, offline, and they say what they are meant to say."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

CLUSTER = Path(__file__).resolve().parents[2] / "cluster"
FILES = ("ray.aws.yaml", "ray.gcp.yaml")


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((CLUSTER / name).read_text())


def is_spot(node_config: dict[str, Any]) -> bool:
    """As each cloud spells it."""
    aws = node_config.get("InstanceMarketOptions", {}).get("MarketType") == "spot"
    return aws or {"preemptible": True} in node_config.get("scheduling", [])


@pytest.fixture(params=FILES)
def prepared(request: pytest.FixtureRequest) -> dict[str, Any]:
    config = prepare_config(load(request.param))
    validate_config(config)
    return config


def test_gpu_groups_scale_from_zero_on_spot_machines(prepared: dict[str, Any]):
    groups = prepared["available_node_types"]
    with_gpu = {name: g for name, g in groups.items() if g["resources"].get("GPU")}
    assert len(with_gpu) >= 2
    for name, group in with_gpu.items():
        assert is_spot(group["node_config"]), name
        assert group["min_workers"] == 0, name
        assert 1 <= group["max_workers"] <= prepared["max_workers"], name
        assert group["resources"]["CPU"] >= 2 * group["resources"]["GPU"], name


def test_the_head_is_on_demand_and_runs_drivers_only(prepared: dict[str, Any]):
    head = prepared["available_node_types"][prepared["head_node_type"]]
    assert not is_spot(head["node_config"])
    assert head["resources"]["CPU"] == 0
    assert head["resources"]["train_driver"] >= 1
    others = [g for name, g in prepared["available_node_types"].items() if name != "head"]
    assert not any("train_driver" in group["resources"] for group in others)


def test_decoding_has_machines_of_its_own(prepared: dict[str, Any]):
    group = prepared["available_node_types"]["cpu_decode"]
    assert "GPU" not in group["resources"]
    assert group["max_workers"] > 0


def test_nobody_without_the_token_gets_in(prepared: dict[str, Any]):
    starts = [*prepared["head_start_ray_commands"], *prepared["worker_start_ray_commands"]]
    starting = [command for command in starts if "ray start" in command]
    assert len(starting) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in starting)
    assert "--dashboard-host=127.0.0.1" in starting[0]
    assert "~/.ray/auth_token" in prepared["file_mounts"]


def test_nodes_install_the_locked_environment(prepared: dict[str, Any]):
    commands = prepared["setup_commands"]
    assert any("make setup" in command for command in commands)
    for command in [*commands, *prepared["head_start_ray_commands"]]:
        subprocess.run(["bash", "-n", "-c", command], check=True)
    assert ".venv" in prepared["rsync_exclude"]


def more_minimum_than_maximum(config: dict[str, Any]) -> None:
    config["available_node_types"]["gpu_train_spot"]["min_workers"] = 1000


def unknown_key(config: dict[str, Any]) -> None:
    config["available_nodetypes"] = {}


def missing_head(config: dict[str, Any]) -> None:
    config["head_node_type"] = "nowhere"


def text_for_a_number(config: dict[str, Any]) -> None:
    config["available_node_types"]["gpu_encode_spot"]["max_workers"] = "many"


@pytest.mark.parametrize(
    "damage", [more_minimum_than_maximum, unknown_key, missing_head, text_for_a_number]
)
@pytest.mark.parametrize("name", FILES)
def test_a_broken_file_is_refused(name: str, damage: Any):
    config = copy.deepcopy(load(name))
    damage(config)
    with pytest.raises((ValueError, jsonschema.ValidationError)):
        validate_config(prepare_config(config))


@pytest.mark.parametrize("stage", range(4))
def test_deepspeed_files_set_zero_and_nothing_that_the_recipe_decides(stage: int):
    settings = json.loads((CLUSTER / "deepspeed" / f"zero{stage}.json").read_text())
    assert list(settings) == ["zero_optimization"]
    assert settings["zero_optimization"]["stage"] == stage
