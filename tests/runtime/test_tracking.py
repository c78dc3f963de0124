"""A tracker records what happened, continues where it stopped, and never stops a run."""

from __future__ import annotations

import math
import multiprocessing
import re
import socket
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

import resyn
from resyn.errors import UserError
from resyn.runtime import tracking
from resyn.runtime.tracking import Tracker, source_tags
from resyn.runtime.tracking_store import open_client, prepare_store, tracking_uri


def test_uri_precedence_is_setting_then_environment_then_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(None) == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking_uri(None, "runs") == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert tracking_uri("sqlite:///a.db") == f"sqlite:///{tmp_path}/a.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert tracking_uri(None) == "http://mlflow:5000"
    assert tracking_uri("https://other") == "https://other"
    assert tracking_uri("off") == "off"


@pytest.mark.parametrize("uri", ["file:///tmp/mlruns", "mlruns", "/tmp/mlruns"])
def test_file_stores_are_refused_with_a_remedy(uri: str):
    with pytest.raises(UserError, match=r"sqlite:///"):
        tracking_uri(uri)


def test_a_run_holds_what_was_recorded(store_uri: str, tmp_path: Path):
    tracker = Tracker(store_uri, experiment="speech")
    run_id = tracker.start(
        {"optim.lr": 5e-4, "note": "x" * 7000, **{f"p{i}": i for i in range(150)}},
        {"shards": "ab12", **source_tags()},
        run_name="first",
    )
    assert run_id is not None
    for step in range(3):
        tracker.metrics({"loss": 1.0 / (step + 1)}, step)
    tracker.metrics({"odd": math.nan}, 3)
    (tmp_path / "note.txt").write_text("hello")
    tracker.artifact(tmp_path / "note.txt", "notes")
    tracker.finish()

    client = MlflowClient(tracking_uri=store_uri)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["optim.lr"] == "0.0005"
    assert len(run.data.params) == 152
    assert run.data.tags["shards"] == "ab12"
    assert run.data.tags["resyn.version"] == resyn.__version__
    assert [m.value for m in client.get_metric_history(run_id, "loss")] == [1.0, 0.5, 1 / 3]
    assert [f.path for f in client.list_artifacts(run_id, "notes")] == ["notes/note.txt"]
    assert (tmp_path / "mlartifacts").is_dir()


def test_a_restart_goes_on_with_the_same_run(store_uri: str):
    first = Tracker(store_uri)
    run_id = first.start({"lr": 1.0, "workers": 2}, {"try": "1"})
    first.metrics({"loss": 2.0}, 1)
    first.finish("FAILED")
    second = Tracker(store_uri)
    assert second.start({"lr": 1.0, "workers": 1, "new": 3}, {"try": "2"}, run_id=run_id) == run_id
    second.metrics({"loss": 1.0}, 2)
    assert second.flush()

    client = MlflowClient(tracking_uri=store_uri)
    run = client.get_run(str(run_id))
    assert run.info.status == "RUNNING"
    assert run.data.params == {"lr": "1.0", "workers": "2", "new": "3"}
    assert run.data.tags["try"] == "2"
    assert [m.step for m in client.get_metric_history(str(run_id), "loss")] == [1, 2]


def test_a_run_that_the_store_has_lost_is_begun_anew(store_uri: str):
    run_id = Tracker(store_uri).start({}, {}, run_id="0" * 32)
    assert run_id not in (None, "0" * 32)


def test_children_lie_under_their_parent(store_uri: str):
    parent = Tracker(store_uri).start({}, {}, run_name="sweep")
    child = Tracker(store_uri).start({}, {}, parent_run_id=parent)
    client = open_client(store_uri)
    experiment = client.get_run(str(child)).info.experiment_id
    found = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{parent}'")
    assert [run.info.run_id for run in found] == [child]


def test_a_dead_server_costs_no_time_and_a_warning_at_either_end(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(tracking, "FINISH_SECONDS", 1.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told: list[str] = []
    tracker = Tracker(f"http://127.0.0.1:{port}", warn=told.append)
    assert tracker.start({"lr": 1}, {}) is None
    for step in range(100):
        tracker.metrics({"loss": 1.0}, step)
    tracker.finish()
    assert len(told) == 2
    assert "cannot be reached" in told[0]
    assert "the rest is lost" in told[1]


def test_what_a_store_refuses_is_dropped_and_the_rest_is_kept(store_uri: str):
    told: list[str] = []
    tracker = Tracker(store_uri, warn=told.append)
    tracker.start({}, {})
    tracker.artifact("no such file")
    tracker.metrics({"before": 1.0, "bad name!": 1.0, "after": 2.0}, 0)
    tracker.metrics({"good": 1.0}, 1)
    tracker.finish()
    assert len(told) == 1
    run = MlflowClient(tracking_uri=store_uri).get_run(str(tracker.run_id))
    assert run.data.metrics == {"before": 1.0, "after": 2.0, "good": 1.0}


def test_a_run_that_does_steps_again_tells_them_once(store_uri: str):
    def life(steps: range) -> str:
        tracker = Tracker(store_uri)
        run_id = tracker.start({}, {}, key="one run")
        for step in steps:
            tracker.metrics({"loss": float(step)}, step)
        assert tracker.flush()
        return str(run_id)

    assert life(range(6)) == life(range(3, 9)) == life(range(9, 10))
    client = MlflowClient(tracking_uri=store_uri)
    history = client.get_metric_history(life(range(0)), "loss")
    assert [metric.step for metric in history] == list(range(10))


def test_a_deleted_run_is_begun_anew(store_uri: str):
    first = Tracker(store_uri).start({}, {}, key="same")
    MlflowClient(tracking_uri=store_uri).delete_run(str(first))
    second = Tracker(store_uri).start({}, {}, run_id=first, key="same")
    assert second not in (None, first)


def test_off_records_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    tracker = Tracker("off")
    assert tracker.start({"a": 1}, {}) is None
    tracker.metrics({"loss": 1.0}, 0)
    tracker.finish()
    assert list(tmp_path.iterdir()) == []


def test_first_openings_at_the_same_time_agree(tmp_path: Path):
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    context = multiprocessing.get_context("spawn")
    openers = [context.Process(target=prepare_store, args=(uri,)) for _ in range(2)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join(300)
    assert [opener.exitcode for opener in openers] == [0, 0]
    assert Tracker(uri).start({}, {}) is not None


def test_a_file_that_is_no_database_is_named(tmp_path: Path):
    (tmp_path / "mlflow.db").write_text("no database " * 100)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.raises(UserError, match=re.escape(uri)):
        prepare_store(uri)
