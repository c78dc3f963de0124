"""The demo scale from nothing to its page, in a folder that a demo has begun. Minutes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resyn.config.demo import DemoConfig
from resyn.config.reproduce import reproduce_config
from resyn.runtime.demo import Demo
from resyn.runtime.ray_train import fit
from resyn.runtime.reproducing import Reproducer

SMALL = {"minutes": 2.0, "eval_utterances": 6, "threads": 1}


@pytest.mark.soak
def test_the_demo_scale_goes_on_from_a_demo_and_ends_in_a_page(
    ray_cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    demo = Demo(DemoConfig(output=str(tmp_path), **SMALL))
    demo.speak()
    demo.encode()
    begun = demo.train_config("sb").override({"steps": 3, "run.engine": "torch"})
    fit(begun.override({"run.num_workers": 0, "tracking.uri": "off"}))
    values = {f"demo.{name}": value for name, value in SMALL.items()}
    values |= {"output": str(tmp_path), "steps": {"onestep": 3, "sb": 3, "c2f": 3}}
    values |= {"evaluate.nfe": "1,7", "evaluate.max_utterances": 3, "evaluate.run.workers": 0}
    config = reproduce_config({**values, "run.threads_per_worker": 1, "tracking.uri": "off"})
    capsys.readouterr()
    Reproducer(config).run()
    printed = capsys.readouterr().out
    assert f"nothing to do: {tmp_path}/runs/sb is complete at step 3" in printed
    folder = tmp_path / "reproduction"
    made = json.loads((folder / "reproduction.json").read_text())
    assert [model["steps"] for model in made["models"]] == [3] * 6
    # One segment of half a minute, the least there is.
    assert 0 < made["models"][3]["hours"] < made["models"][0]["hours"] / 3
    assert len(made["findings"]) == 8
    assert all(finding["verdict"] and finding["evidence"] for finding in made["findings"])
    page = (folder / "index.html").read_text()
    assert "other data: synthetic speech" in page
    assert all(row["cells"]["rtf"]["ours"] for row in made["table1"] if row["key"] == "sb-nfe7")
