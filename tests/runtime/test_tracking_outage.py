"""A tracking server that is away: nothing waits for it, and in the end it knows everything once."""

from __future__ import annotations

import multiprocessing
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.entities import Metric, Run
from mlflow.tracking import MlflowClient

from resyn.runtime import tracking
from resyn.runtime.ray_train import fit
from resyn.runtime.tracking import Tracker
from resyn.storage import open_storage
from tests.mlflow_server import MlflowServer, record_and_die
from tests.runtime.conftest import debug_config


@pytest.fixture(scope="module")
def server(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """One server for all tests here; it starts down."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copyfile(empty_store, folder / "mlflow.db")
    made = MlflowServer(f"sqlite:///{folder}/mlflow.db", folder)
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def impatient_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(tracking, "FINISH_SECONDS", 5.0)


def the_run(server: MlflowServer, name: str) -> tuple[MlflowClient, Run]:
    client = MlflowClient(tracking_uri=server.store_uri)
    (run,) = client.search_runs(["1"], f"attributes.run_name = '{name}'")
    return client, run


def steps(history: list[Metric]) -> list[int]:
    return sorted(metric.step for metric in history)


def test_an_outage_and_a_kill_in_the_middle_leave_every_metric_once(
    server: MlflowServer, tmp_path: Path
):
    def tracker(uri: str) -> Tracker:
        made = Tracker(uri, pending=open_storage(str(tmp_path)))
        made.start({"lr": 1}, {}, run_name="middle", key="the-key")
        return made

    server.stop()
    first = tracker(server.store_uri)
    run_id = first.run_id
    assert run_id is not None
    for step in range(10):
        first.metrics({"loss": float(step)}, step)
    first.finish("FAILED")
    second = multiprocessing.get_context("spawn").Process(
        target=record_and_die, args=(server.uri, str(tmp_path), "the-key", range(10, 20))
    )
    second.start()
    second.join(120)
    assert second.exitcode == -signal.SIGKILL
    third = tracker(server.uri)
    assert third.run_id is None
    for step in range(15, 25):
        third.metrics({"loss": float(step), "late": 1.0}, step)
    server.start()
    third.finish()
    client, run = the_run(server, "middle")
    assert run.info.run_id == run_id
    history = client.get_metric_history(run_id, "loss")
    assert steps(history) == list(range(25))
    assert {metric.step: metric.value for metric in history} == {s: float(s) for s in range(25)}
    assert steps(client.get_metric_history(run_id, "late")) == list(range(10, 25))
    assert run.info.status == "FINISHED"


def test_training_ends_without_a_server_and_tells_one_afterwards(
    server: MlflowServer, tiny_shards: Path, tmp_path: Path
):
    output = tmp_path / "away"
    nobody = MlflowServer(server.store_uri, tmp_path)  # Never started.
    values = {"tracking.uri": nobody.uri, "tracking.system_metrics": False, "steps": 6}
    config = debug_config(tiny_shards, output, **values, **{"run.checkpoint_every": 3})
    lines: list[str] = []
    result = fit(config, lines.append)
    told = [line for line in lines if "MLflow" in line]
    assert len(told) == 2
    assert "cannot be reached" in told[0]
    assert str(output / "tracking") in told[1]
    assert (result.step, result.run_id) == (6, None)
    ended = time.time() * 1000

    server.start()
    config = config.override({"tracking.uri": server.uri})
    del lines[:]
    fit(config, lines.append)
    fit(config, lines.append)
    assert ["pending" in line for line in lines] == [True, False, False]
    assert not list((output / "tracking").iterdir())
    client, run = the_run(server, "away")
    assert run.info.status == "FINISHED"
    assert run.info.end_time <= ended
    assert run.data.params["optim.lr"] == "0.001"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert steps(history) == [1, 2, 3, 4, 5, 6]
    assert all(metric.timestamp <= ended for metric in history)
    assert len({metric.timestamp for metric in history}) > 1
    validated = client.get_metric_history(run.info.run_id, "validation_loss")
    assert steps(validated) == [3, 6]
