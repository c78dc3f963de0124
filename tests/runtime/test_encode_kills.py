"""Cases 23 to 26: processes and nodes killed with signal 9 leave an output that ends the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import ray
import soundfile
from ray.cluster_utils import Cluster

from resyn.codec import load_codec
from resyn.data.audit import audit
from resyn.data.commit import commit_unit
from resyn.data.decode import decode_unit
from resyn.data.encode import BatchShape, encode_unit
from resyn.data.job import Recipe, open_job
from resyn.data.ledger import committed_units, read_records
from resyn.data.plan import PlanSettings, read_rows
from resyn.storage import Storage, open_storage
from tests.runtime.count_encodes import begun, runtime_env
from tests.s3_proxy import S3, Fault

pytestmark = pytest.mark.soak

ROOT = Path(__file__).parents[2]
CODEC = "encodec_24khz_random"
FLAGS = ["--codec", CODEC, "--segment-seconds", "4", "--unit-minutes", "0.1"]
#: The file of each unit, below its root.
UNITS = [f"10{n % 2}/book_{n % 2}/part_{n}.flac" for n in (0, 2, 1, 3)]
#: Bounds a hang; nothing depends on it.
MOST_SECONDS = 240


def undisturbed(root: str, output: str) -> list[str]:
    """The sha256 of every shard that a plain loop in this process writes."""
    codec, columns = load_codec(CODEC), ("codes", "z")
    recipe = Recipe(codec.spec, columns, PlanSettings("auto", 4.0, 0.1))
    job = open_job(open_storage(root), open_storage(output), recipe, codec)
    for unit in job.pending():
        table = decode_unit(job.input, read_rows(job.output, unit), 24_000, with_audio=False)
        table = encode_unit(codec, table, columns, BatchShape(1, 1.0))
        commit_unit(job.output, unit.unit, table, codec.spec, columns)
    return shas(job.output)


def shas(output: Storage) -> list[str]:
    return [record.sha256 for record in read_records(output)]


@contextmanager
def driver(root: str, output: str, *flags: str, **environment: str) -> Iterator[subprocess.Popen]:
    """`pipelines/encode.py` as a process; its lines are in `communicate`."""
    script = [sys.executable, str(ROOT / "pipelines" / "encode.py"), *FLAGS, *flags]
    command = [*script, "--input", root, "--output", output]
    made = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | environment,
        cwd=ROOT,
    )
    try:
        yield made
    finally:
        made.kill()
        made.communicate()


def killed_at(root: str, output: str, job: dict[str, str], *faults: Fault) -> None:
    """A driver of one actor that dies when the last of `faults` is met."""
    with driver(root, output, "--num-actors", "1", **job) as process:
        for fault in faults:
            assert fault.met.wait(MOST_SECONDS)
        process.kill()


def finish(process: subprocess.Popen) -> str:
    printed, _ = process.communicate(timeout=MOST_SECONDS)
    assert process.returncode == 0, printed
    return printed


def wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + MOST_SECONDS
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kill_encoder() -> None:
    """End the codec actor, a descendant of this process through its Ray."""
    workers = [
        process
        for process in psutil.Process().children(recursive=True)
        if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::MapWorker")
    ]
    assert len(workers) == 1
    workers[0].send_signal(signal.SIGKILL)


def submission(address: str, encodes: Path, held: str = "", **variables: str) -> dict[str, str]:
    """What `ray job submit --runtime-env-json` gives to a driver; encodes are counted."""
    job = {"runtime_env": runtime_env(encodes, held, **variables)}
    return {"RAY_ADDRESS": address, "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps(job)}


def test_drivers_and_an_actor_killed_at_every_stage(
    s3: S3, ray_cluster: None, tmp_path: Path, make_librilight: Callable[..., Path]
) -> None:
    """Cases 23 and 24. The first driver dies while one unit is fetched, one encoded and one
    written, the second while one is committed, and the third loses its actor within a unit.

    A dead actor costs the unit that it was at and no other, and no unit that is committed is ever
    begun again; a dead driver costs the one that its actor was at."""
    root, out = "s3://kills/small", "s3://kills/out"
    s3.upload(make_librilight(tmp_path / "tree", seconds=(8.0,) * 4), "kills")
    expected = undisturbed(root, "s3://kills/plain")
    output, earlier, encodes = open_storage(out), tmp_path / "earlier", tmp_path / "encodes"
    address = ray.get_runtime_context().gcs_address
    usual = submission(address, earlier, **s3.environment)
    s3.calm()
    fetch = s3.fault("GET", "kills/small/*/part_3.flac", "hold", times=0)
    planned = s3.fault("PUT", "kills/out/encode.json")  # Planning reads headers before.
    planned.first = lambda: setattr(fetch, "times", 1)
    write = s3.fault("PUT", "kills/out/shards/*", "hold")
    killed_at(root, out, usual, fetch, write)
    assert (committed_units(output), begun(earlier).total()) == (set(), 1)
    s3.calm()
    s3.fault("PUT", "kills/out/ledger/*")
    commit = s3.fault("PUT", "kills/out/ledger/*", "hold")
    killed_at(root, out, usual, commit)
    (done,) = (record.unit for record in read_records(output))
    assert (len(output.names("shards")), begun(earlier).total()) == (2, 1 + 2)
    s3.calm()
    # A queue of an actor has no order: any of the units may have been the first.
    left = [unit for number, unit in enumerate(UNITS) if number != done]
    job = submission(address, encodes, left[1], **s3.environment)
    with driver(root, out, "--num-actors", "1", **job) as third:
        wait_until(lambda: left[1] in begun(encodes))
        kill_encoder()
        assert "resuming: 1 units are committed" in finish(third)
    assert begun(encodes) == {left[0]: 1, left[1]: 2, left[2]: 1}
    assert (shas(output), len(expected)) == (expected, 4)
    assert audit(output, contents=True).clean
    assert s3.count("GET", f"kills/small/{UNITS[done]}") == 0
    assert s3.count("PUT", "kills/out/shards/*") == 3


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A small object store, and a disk that Ray takes for full at a thousandth of its size."""
    with tempfile.TemporaryDirectory(prefix="rd", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        settings = {"_system_config": {"local_fs_capacity_threshold": 0.001}}
        node = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=node | settings)
        try:
            yield cluster
        finally:
            cluster.shutdown()


def test_a_disk_without_room_to_spill_stops_the_run(full_disk: Cluster, tmp_path: Path) -> None:
    """Case 26, spill: a unit of 40 minutes does not fit into the object store."""
    (tmp_path / "tree").mkdir()
    silence = np.zeros(40 * 60 * 24_000, np.int16)
    soundfile.write(tmp_path / "tree" / "silence.flac", silence, 24_000)
    flags = ["--codec", "waveform_24khz", "--columns", "audio", "--unit-minutes", "60"]
    root, output = str(tmp_path / "tree"), open_storage(str(tmp_path / "out"))
    with driver(root, output.root, *flags, RAY_ADDRESS=full_disk.address) as process:
        printed, _ = process.communicate(timeout=MOST_SECONDS)
    assert process.returncode == 1, printed
    assert "no space left" in printed.splitlines()[-1]
    assert committed_units(output) == set()
    assert output.names("shards") == []


def test_a_node_lost(
    two_nodes: Cluster, tmp_path: Path, make_librilight: Callable[..., Path]
) -> None:
    """Case 25: of two nodes the one without the driver dies after the first commit.

    It takes along the unit that its actor was at."""
    root = make_librilight(tmp_path / "tree", seconds=(8.0,) * 6)
    expected = undisturbed(str(root), str(tmp_path / "plain"))
    output = open_storage(str(tmp_path / "out"))
    (other,) = two_nodes.worker_nodes
    job = submission(two_nodes.address, tmp_path / "encodes")
    with driver(str(root), output.root, **job) as process:
        wait_until(lambda: bool(committed_units(output)) or process.poll() is not None)
        left = len(expected) - len(committed_units(output))
        two_nodes.remove_node(other, allow_graceful=False)
        finish(process)
    assert left > 0
    assert len(expected) <= begun(tmp_path / "encodes").total() <= len(expected) + 1
    assert shas(output) == expected
    assert audit(output, contents=True).clean
