"""The paper's network and lost nodes: stop anywhere, same losses. Minutes each, for `make soak`."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from tests.runtime.train_faults import (
    MOST_SECONDS,
    losses_of,
    steps_of,
    train_workers,
    wait_for_step,
)
from tests.s3_proxy import S3

pytestmark = pytest.mark.soak

ROOT = Path(__file__).parents[2]
STEPS, INTERVAL = 20, 5
#: Twenty steps of the paper's network in full precision, four crops of a second each.
PAPER = {
    "batch.batch_seconds": 4,
    "batch.crop_seconds": 1,
    "batch.micro_batch": 2,
    "optim.warmup_steps": 5,
    "optim.ema_decay": 0,
    "run.keep_checkpoints": 2,
    "run.checkpoint_every": INTERVAL,
    "run.log_every": 1,
    "run.threads_per_worker": 1,
}


class Driver:
    """`pipelines/train.py` as a process, its lines gathered as they come."""

    def __init__(self, shards: str, output: Path, *flags: str, **values: object) -> None:
        script = [sys.executable, str(ROOT / "pipelines" / "train.py"), "--method", "sb"]
        pairs = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
        self.process = subprocess.Popen(
            [*script, "--shards", shards, "--output", str(output), *flags, *pairs],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        self.began = time.monotonic()
        self.lines: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def finish(self) -> list[str]:
        self.process.wait(MOST_SECONDS)
        self._reading.join(30)
        print(f"{self.lines[-2:]} after {time.monotonic() - self.began:.0f} s")
        assert self.process.returncode == 0, "\n".join(self.lines)
        return self.lines

    def kill_all(self) -> None:
        """The driver and what it started: the machine is switched off."""
        started = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGKILL)
        for process in started:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(started, 30)
        self.process.wait(30)


@contextmanager
def driver(shards: str, output: Path, *flags: str, **values: object) -> Iterator[Driver]:
    """Running within the block, killed with all it started if it still runs at its end."""
    made = Driver(shards, output, *flags, **values)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.kill_all()


def copy_store(source: Path, target: Path) -> None:
    """A consistent copy of a store in use."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def losses(store: Path) -> dict[int, list[float]]:
    """Every loss that MLflow has of a store's only run, by step; redone steps have several."""
    client = MlflowClient(f"sqlite:///{store}")
    (experiment,) = (e for e in client.search_experiments() if e.name == "resyn")
    (run,) = client.search_runs([experiment.experiment_id])
    found: dict[int, list[float]] = {}
    for metric in client.get_metric_history(run.info.run_id, "loss"):
        found.setdefault(metric.step, []).append(metric.value)
    return found


def assert_same_losses(left: Path, right: Path, within: float) -> None:
    """Every step was taken, and whenever it was taken its loss was the other run's."""
    first, second = losses(left), losses(right)
    assert sorted(first) == sorted(second) == list(range(1, STEPS + 1))
    for step, expected in first.items():
        for loss in second[step]:
            assert loss == pytest.approx(expected[0], abs=within), step


def assert_same_lines(left: list[str], right: list[str]) -> None:
    """Losses of the right run's lines, redone steps too, are the left's in the digits shown.

    MLflow is told of a redone step once, so the second time is in the lines alone.
    """
    expected = dict(zip(steps_of(left), losses_of(left), strict=True))
    for step, loss in zip(steps_of(right), losses_of(right), strict=True):
        assert loss == pytest.approx(expected[step], rel=1e-3), step


@pytest.mark.parametrize(("engine", "victim"), [("deepspeed", "worker"), ("torch", "driver")])
def test_the_papers_network_killed_anywhere_has_the_same_losses(
    s3: S3, tiny_shards: Path, tmp_path: Path, empty_store: Path, engine: str, victim: str
) -> None:
    """Shards in S3, two workers; killed at a random step; resumed by two workers and by one."""
    s3.upload(tiny_shards, "paper")
    shards, at = "s3://paper", random.choice([6, 7, 8, 11, 12, 13, 16, 17])
    flags = ["--preset", "base_210m", "--steps", str(STEPS), "--engine", engine]
    flags += ["--set", f"run.cache_dir={tmp_path / 'cache'}"]

    def run(name: str, workers: int) -> AbstractContextManager[Driver]:
        if not (store := tmp_path / f"{name}.db").exists():
            copy_store(empty_store, store)
        uri = ["--tracking-uri", f"sqlite:///{store}", "--num-workers", str(workers)]
        return driver(shards, tmp_path / name, *flags, *uri, **PAPER)

    print(f"{engine}: killing the {victim} at step {at}")
    with run("whole", 2) as whole:
        whole.finish()
    shutil.rmtree(tmp_path / "whole")
    with run("killed", 2) as killed:
        while not steps_of(killed.lines) or max(steps_of(killed.lines)) < at:
            assert killed.process.poll() is None, "\n".join(killed.lines)
            time.sleep(0.05)
        # Files of checkpoints are never changed, so links stay as they are.
        shutil.copytree(tmp_path / "killed", tmp_path / "one", copy_function=os.link)
        copy_store(tmp_path / "killed.db", tmp_path / "one.db")
        if victim == "worker":
            random.choice(train_workers(psutil.Process(killed.process.pid))).kill()
            assert any("lost worker" in line for line in killed.finish())
    if victim == "driver":
        with run("killed", 2) as again:
            assert any("resuming at step" in line for line in again.finish())
        assert min(steps_of(again.lines)) <= max(steps_of(killed.lines))
        assert_same_lines(whole.lines, again.lines)
    assert_same_lines(whole.lines, killed.lines)
    shutil.rmtree(tmp_path / "killed")
    assert_same_losses(tmp_path / "whole.db", tmp_path / "killed.db", 1e-6)
    with run("one", 1) as one:
        one.finish()
    assert_same_losses(tmp_path / "whole.db", tmp_path / "one.db", 1e-4)


SMALL = {"tracking.uri": "off", "run.threads_per_worker": 1, "run.engine": "torch"}


def test_a_node_lost_costs_at_most_one_checkpoint_interval(
    two_nodes, tiny_shards: Path, tmp_path: Path
) -> None:
    """An elastic group of one to two; the node without the driver dies, and one goes on."""
    (other,) = two_nodes.worker_nodes
    flags = ["--preset", "debug", "--num-workers", "1:2", "--steps", "200"]
    values = SMALL | {"run.checkpoint_every": 20, "batch.batch_seconds": 16}
    os.environ["RAY_ADDRESS"] = two_nodes.address
    try:
        with driver(str(tiny_shards), tmp_path / "out", *flags, **values) as running:
            wait_for_step(tmp_path / "out", 40)
            two_nodes.remove_node(other, allow_graceful=False)
            lines = running.finish()
    finally:
        del os.environ["RAY_ADDRESS"]
    resumed = [int(line.rsplit(" ", 1)[-1]) for line in lines if "resuming at step" in line]
    steps = steps_of(lines)
    assert sorted(set(steps)) == list(range(1, 201))
    assert resumed
    for start in resumed:
        before = steps[: len(steps) - steps[::-1].index(start + 1) - 1]
        assert start >= 40
        assert max(before) - start <= 20


def test_a_node_about_to_be_taken_away_is_saved_from_first(
    two_nodes, tiny_shards: Path, tmp_path: Path
) -> None:
    """No other checkpoint is due before the end: the one that the notice causes is all there is."""
    import ray
    from ray.core.generated import autoscaler_pb2

    (other,) = two_nodes.worker_nodes
    flags = ["--preset", "debug", "--num-workers", "1:2", "--steps", "800"]
    values = SMALL | {"run.checkpoint_every": 10**6, "batch.batch_seconds": 16}
    os.environ["RAY_ADDRESS"] = two_nodes.address
    try:
        with driver(str(tiny_shards), tmp_path / "out", *flags, **values) as running:
            while not steps_of(running.lines):
                assert running.process.poll() is None, "\n".join(running.lines)
                time.sleep(0.05)
            reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
            deadline = int((time.time() + 20) * 1000)
            gcs = ray._raylet.GcsClient(address=two_nodes.address)  # pyright: ignore
            accepted, why = gcs.drain_node(other.node_id, reason, "", deadline)
            assert accepted, why
            wait_for_step(tmp_path / "out", 1)
            two_nodes.remove_node(other, allow_graceful=False)
            lines = running.finish()
    finally:
        del os.environ["RAY_ADDRESS"]
    assert any("1 node is being taken away: saving a checkpoint" in line for line in lines)
    assert any("resuming at step" in line for line in lines)
    assert sorted(set(steps_of(lines))) == list(range(1, 801))
