"""The demo as a whole: small, in this process but for encoding and metrics, and twice."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from pipelines.demo import main
from resyn.config.demo import DemoConfig
from resyn.config.train import TrainConfig
from resyn.errors import UserError
from resyn.runtime.demo import Demo, load_line
from resyn.runtime.resynthesizing import RECORD
from resyn.runtime.tracking_store import open_client

SMALL = {"minutes": 1.0, "eval_utterances": 2, "scored_utterances": 2, "spoken": 1, "threads": 1}

#: What costs time to make, so that a second demo must leave it alone.
COSTLY = ("corpus/", "shards/", "runs/", "assets/", "resynthesised/", "mlartifacts/")


class DemoInProcess(Demo):
    """Trains on the plain engine and without Ray, whose start costs more than these steps."""

    def train_config(self, method: str) -> TrainConfig:
        """See `Demo`."""
        changes = {"run.engine": "torch", "run.num_workers": 0}
        return super().train_config(method).override(changes)


def contents(root: Path) -> dict[str, bytes]:
    """Every file by its path, but for the database and the lease, which note each visit."""
    names = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    visited = ("mlflow.db", "shards/lease/")
    return {name: (root / name).read_bytes() for name in names if not name.startswith(visited)}


def written_at(root: Path) -> dict[str, int]:
    """When each costly file was written, in nanoseconds."""
    costly = (name for name in contents(root) if name.startswith(COSTLY))
    return {name: (root / name).stat().st_mtime_ns for name in costly if RECORD not in name}


def test_a_demo_ends_in_a_page_and_a_champion_and_a_second_one_reuses_them(
    ray_cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    steps = {"onestep": 2, "sb": 2}
    config = DemoConfig(
        output=str(tmp_path), methods=tuple(steps), steps=steps, preset="debug", nfe=(1,), **SMALL
    )
    demo = DemoInProcess(config)
    planned = demo.describe()
    assert planned.count("not yet") == 4 + len(steps)
    assert not list(tmp_path.iterdir())
    demo.run()
    closing = capsys.readouterr().out
    assert f"page   {tmp_path}/index.html" in closing
    line = load_line(demo.store)
    assert line in closing
    client = open_client(demo.store)
    for method in steps:
        holder = client.get_model_version_by_alias(f"resyn-{method}", "champion")
        assert str(holder.version) == "1"
    made, times = contents(tmp_path), written_at(tmp_path)
    assert {"index.html", "table.md", "results.json"} <= made.keys()
    assert sum(path.endswith(".wav") for path in made if path.startswith("resynthesised/")) == 1

    assert demo.describe().count("complete") == 3 + len(steps)
    assert contents(tmp_path) == made
    demo.run()
    again = capsys.readouterr().out
    assert len(re.findall(r"nothing to do", again)) >= 2 + len(steps)
    assert contents(tmp_path) == made
    assert written_at(tmp_path) == times
    assert len(client.search_model_versions()) == len(steps)

    spoken = subprocess.run(
        line, shell=True, cwd="/", env={"HOME": str(tmp_path)}, capture_output=True, text=True
    )
    assert spoken.stdout.strip() == f"({150 * 320},)", spoken.stderr[-2000:]


@pytest.mark.parametrize("changed", [["--minutes", "0.4"], ["--seed", "1"]])
def test_other_speech_over_a_demo_is_a_wrong_call_in_one_line(tmp_path: Path, changed: list[str]):
    small = DemoConfig(output=str(tmp_path), **{**SMALL, "minutes": 0.3})
    Demo(small).speak()
    call = ["--output", str(tmp_path), "--minutes", "0.3", "--set", "eval_utterances=2"]
    for dry in ([], ["--dry-run"]):
        with pytest.raises(UserError, match=r"librilight:? holds a corpus made with") as caught:
            main([*call, *changed, *dry])
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus"]


def test_a_plan_names_hours_utterances_shards_bytes_and_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    main(["--output", str(tmp_path / "new"), "--dry-run"])
    printed = capsys.readouterr().out
    for said in (
        "1. synthetic speech: 0.50 h to train on; 48 utterances to evaluate on; not yet",
        "2. encode with demo_24khz: about 10 shards, ",
        "4. train sb: 280 steps; not yet",
        "6. evaluate on held-out voices: 16 utterances, NFE 1, 4, 7, 16; not yet",
    ):
        assert said in printed
    assert not (tmp_path / "new").exists()
