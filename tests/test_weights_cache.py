"""Weights are fetched once per machine, checked by everyone, and never half there."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from resyn.errors import RunError, UserError
from resyn.weights_cache import local_copy
from tests.s3_proxy import S3

CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()
URI = "s3://weights/codec.th"
#: A process of a node's: says that it is there, and then which file it got.
PROCESS = """
import sys
from resyn.weights_cache import local_copy
print("there", flush=True)
print(local_copy(*sys.argv[1:]), flush=True)
"""


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "codec.th"
    file.write_bytes(CONTENT)
    return file


@pytest.fixture
def remote(s3: S3) -> S3:
    s3.put("weights")
    s3.put("weights/codec.th", CONTENT)
    s3.calm()
    return s3


def process(cache: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROCESS, URI, SHA256, str(cache)]
    made = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert made.stdout is not None
    assert made.stdout.readline() == "there\n"
    return made


def test_a_local_file_stays_where_it_is_until_its_hash_is_known(
    weights: Path, tmp_path: Path
) -> None:
    assert local_copy(str(weights), folder=str(tmp_path / "cache")) == weights
    assert local_copy(f"file://{weights}", folder=str(tmp_path / "cache")) == weights
    assert not (tmp_path / "cache").exists()
    copy = local_copy(str(weights), SHA256, str(tmp_path / "cache"))
    assert copy == tmp_path / "cache" / f"{SHA256}.th"
    assert copy.read_bytes() == CONTENT


def test_the_copy_outlives_its_source_and_a_damaged_one_is_made_again(
    weights: Path, tmp_path: Path
) -> None:
    copy = local_copy(str(weights), SHA256, str(tmp_path / "cache"))
    copy.write_bytes(CONTENT[:-1])
    assert local_copy(str(weights), SHA256, str(tmp_path / "cache")).read_bytes() == CONTENT
    weights.unlink()
    assert local_copy(str(weights), SHA256, str(tmp_path / "cache")).read_bytes() == CONTENT


def test_a_file_that_changed_or_went_is_named(weights: Path, tmp_path: Path) -> None:
    weights.write_bytes(CONTENT + b"!")
    changed = rf"codec\.th: changed since .* {SHA256[:12]} then\); restore the file"
    with pytest.raises(RunError, match=changed):
        local_copy(str(weights), SHA256, str(tmp_path / "cache"))
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".lock"]
    weights.unlink()
    with pytest.raises(UserError, match=r"codec\.th: no such file on .*; name one that all"):
        local_copy(str(weights), SHA256, str(tmp_path / "cache"))


def test_processes_that_race_fetch_it_once(remote: S3, tmp_path: Path) -> None:
    """The first is held in its request until the other is about to ask."""
    go = threading.Event()
    fetch = remote.fault("GET", "weights/codec.th", first=lambda: assert_true(go.wait(60)))
    one = process(tmp_path / "cache")
    assert fetch.met.wait(60)
    other = process(tmp_path / "cache")
    go.set()
    found = [made.communicate(timeout=60)[0].strip() for made in (one, other)]
    assert found == [str(tmp_path / "cache" / f"{SHA256}.th")] * 2
    assert Path(found[0]).read_bytes() == CONTENT
    assert remote.count("GET", "weights/codec.th") == 1


def test_whoever_is_killed_while_copying_leaves_the_rest_to_the_next(
    remote: S3, tmp_path: Path
) -> None:
    fetch = remote.fault("GET", "weights/codec.th", "hold")
    one = process(tmp_path / "cache")
    assert fetch.met.wait(60)
    one.kill()
    one.communicate()
    assert not list((tmp_path / "cache").glob("*.th"))
    assert local_copy(URI, SHA256, str(tmp_path / "cache")).read_bytes() == CONTENT
    assert local_copy(URI, None, str(tmp_path / "cache")).read_bytes() == CONTENT
    assert not list((tmp_path / "cache").glob("*.partial"))


def assert_true(value: bool) -> None:
    assert value
