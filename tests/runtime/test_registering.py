"""`train.py --register`: refused before any work, and one version however often it is said."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipelines.train import main
from resyn.config.train import TrainConfig
from resyn.data.shards import ShardReader
from resyn.errors import UserError
from resyn.presets import preset
from resyn.runtime.promotion import check_registration
from resyn.runtime.tracking_store import open_client

REPOSITORY = Path(__file__).resolve().parents[2]


def revision(name: str) -> str:
    """The commit that `name` means in this checkout; empty where it is none."""
    command = ["git", "-C", str(REPOSITORY), "rev-parse", name.removesuffix("-dirty")]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(
    ("method", "tracking", "cause"),
    [
        ("sb", {"uri": "off"}, "need a store"),
        ("codec", {"uri": "sqlite:///m.db"}, "no speech from codes"),
        ("sb", {"uri": "sqlite:///m.db", "register_as": "a/b"}, "has no '/'"),
    ],
)
def test_what_cannot_be_registered_is_refused_by_its_settings(
    method: str, tracking: dict[str, str], cause: str
):
    values = {"register_as": "resyn-x", **tracking}
    config = preset("debug", method).override({f"tracking.{k}": v for k, v in values.items()})
    with pytest.raises(UserError, match=cause):
        check_registration(config)
    check_registration(config.override({"tracking.register_as": None}))


def test_a_store_named_off_by_the_environment_is_refused_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "off")
    config: TrainConfig = preset("debug", "sb").override({"tracking.register_as": "resyn-sb"})
    with pytest.raises(UserError, match="need a store"):
        check_registration(config)


def test_the_same_command_twice_makes_one_run_and_one_version(
    tiny_shards: Path, store_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    command = ["--method", "sb", "--preset", "debug", "--shards", str(tiny_shards)]
    command += ["--output", str(tmp_path / "out"), "--steps", "2", "--engine", "torch"]
    command += ["--num-workers", "0", "--tracking-uri", store_uri, "--register", "resyn-sb"]
    printed: list[str] = []
    for _ in range(2):
        main(command)
        printed.append(capsys.readouterr().out)
    assert "registered models:/resyn-sb/1" in printed[0]
    assert "models:/resyn-sb/1 is this checkpoint already" in printed[1]
    client = open_client(store_uri)
    [version] = client.search_model_versions("name = 'resyn-sb'")
    [run] = client.search_runs([client.get_run(str(version.run_id)).info.experiment_id])
    assert version.run_id == run.info.run_id
    reader = ShardReader(str(tiny_shards))
    assert run.data.tags["resyn.shard_fingerprint"] == reader.fingerprint
    assert run.data.tags["resyn.codec_sha256"] == reader.spec.weights_sha256
    assert revision(run.data.tags.get("mlflow.source.git.commit", "")) == revision("HEAD")
