"""Cases 23 to 25: processes and nodes killed with signal 9 leave an output that ends the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import ray
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
from tests.s3_proxy import S3

pytestmark = pytest.mark.soak

ROOT = Path(__file__).parents[2]
CODEC = "encodec_24khz_random"
FLAGS = ["--codec", CODEC, "--segment-seconds", "4", "--unit-minutes", "0.1"]
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


def finish(process: subprocess.Popen) -> str:
    printed, _ = process.communicate(timeout=MOST_SECONDS)
    assert process.returncode == 0, printed
    return printed


def kill_encoder() -> int:
    """End the codec actor, a descendant of this process through its Ray."""
    workers = [
        process
        for process in psutil.Process().children(recursive=True)
        if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::MapWorker")
    ]
    assert len(workers) == 1
    workers[0].send_signal(signal.SIGKILL)
    return workers[0].pid


@pytest.fixture
def submitted(s3: S3, ray_cluster: None) -> dict[str, str]:
    """What `ray job submit --runtime-env-json` gives to a driver on the shared cluster."""
    return {
        "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
        "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps({"runtime_env": {"env_vars": s3.environment}}),
    }


def test_drivers_and_an_actor_killed_at_every_stage(
    s3: S3, submitted: dict[str, str], tmp_path: Path, make_librilight: Callable[..., Path]
) -> None:
    """Cases 23 and 24. The first driver dies while one unit is fetched, one encoded and one
    written, the second while one is committed, and the third loses its actor within a unit."""
    s3.upload(make_librilight(tmp_path / "tree", seconds=(8.0,) * 4), "kills")
    root, out = "s3://kills/small", "s3://kills/out"
    expected = undisturbed(root, "s3://kills/plain")
    output = open_storage(out)
    s3.calm()
    fetch = s3.fault("GET", "kills/small/*/part_3.flac", "hold", times=0)
    planned = s3.fault("PUT", "kills/out/encode.json")  # Planning reads headers before.
    planned.first = lambda: setattr(fetch, "times", 1)
    write = s3.fault("PUT", "kills/out/shards/000000.parquet", "hold")
    with driver(root, out, "--num-actors", "1", **submitted) as first:
        assert fetch.met.wait(MOST_SECONDS)
        assert write.met.wait(MOST_SECONDS)
        first.kill()
    assert committed_units(output) == set()
    s3.calm()
    commit = s3.fault("PUT", "kills/out/ledger/000001.json", "hold")
    with driver(root, out, "--num-actors", "1", **submitted) as second:
        assert commit.met.wait(MOST_SECONDS)
        second.kill()
    assert committed_units(output) == {0}
    assert output.exists("shards/000001.parquet")
    s3.calm()
    killed: list[int] = []
    last = s3.fault("PUT", "kills/out/shards/000001.parquet")
    last.first = lambda: killed.append(kill_encoder())
    with driver(root, out, "--num-actors", "1", **submitted) as third:
        assert "resuming: 1 units are committed" in finish(third)
    assert len(killed) == 1
    assert shas(output) == expected
    assert len(expected) == 4
    assert audit(output, contents=True).clean
    assert s3.count("GET", "kills/small/*/part_0.flac") == 0
    assert s3.count("PUT", "kills/out/shards/*") == 3


def test_a_node_lost(
    two_nodes: Cluster, tmp_path: Path, make_librilight: Callable[..., Path]
) -> None:
    """Case 25: of two nodes the one without the driver dies after the first commit."""
    root = make_librilight(tmp_path / "tree", seconds=(8.0,) * 6)
    expected = undisturbed(str(root), str(tmp_path / "plain"))
    output = open_storage(str(tmp_path / "out"))
    (other,) = two_nodes.worker_nodes
    with driver(str(root), output.root, RAY_ADDRESS=two_nodes.address) as process:
        deadline = time.monotonic() + MOST_SECONDS
        while not committed_units(output) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        left = len(expected) - len(committed_units(output))
        two_nodes.remove_node(other, allow_graceful=False)
        finish(process)
    assert left > 0
    assert shas(output) == expected
    assert audit(output, contents=True).clean
