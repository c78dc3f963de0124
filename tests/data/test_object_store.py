"""Cases 19 to 22: a real S3 server behind a proxy that does damage."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from resyn.codec import Codec
from resyn.data.audit import audit
from resyn.data.job import Job
from resyn.data.ledger import read_records
from resyn.data.quarantine import PLAN, read_refusals, unit_file
from resyn.errors import RunError
from resyn.storage import Storage
from tests.s3_proxy import AUTHORIZED, S3, SECRET, Damage

ROOT = Path(__file__).parents[2]
INPUT = "s3://corpus/tree"
PART = "corpus/tree/small/*/part_{}.flac"
FLAGS = ["--codec", "waveform_24khz", "--columns", "audio"]
Encode = Callable[[str], Storage]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, make_librilight: Callable[..., Path]) -> Path:
    return make_librilight(tmp_path_factory.mktemp("s3") / "tree", seconds=(0.6, 0.8, 0.7))


@pytest.fixture
def corpus(s3: S3, tree: Path) -> S3:
    """Three files in a bucket, one unit each: parts 0, 2 and 1, in the order of their paths."""
    s3.upload(tree.parent, "corpus")
    s3.put("shards")
    s3.calm()
    return s3


@pytest.fixture
def run(corpus: S3, encode: Callable[..., Job], waveform: Codec) -> Encode:
    """Encodes `INPUT` to the folder of a name, in this process."""

    def to(name: str) -> Storage:
        output = f"s3://shards/{name}"
        return encode(INPUT, output, waveform, ("audio",), unit_minutes=0.001).output

    return to


@pytest.fixture
def planned(run: Encode, corpus: S3, request: pytest.FixtureRequest) -> tuple[Storage, list[str]]:
    """A whole output whose units are to be encoded again, and their sha256."""
    output = run(request.node.name.translate({ord("["): "-", ord("]"): None}))
    hashes = shas(output)
    for record in read_records(output):
        output.remove(f"ledger/{record.unit:06d}.json")
    corpus.calm()
    return output, hashes


def shas(output: Storage) -> list[str]:
    return [record.sha256 for record in read_records(output)]


def refusals(output: Storage) -> dict[str, str]:
    files = [unit_file(r.unit) for r in read_records(output) if r.quarantined]
    found = [refusal for file in [PLAN, *files] for refusal in read_refusals(output, file)]
    return {refusal.source_uri.rpartition("/")[2]: refusal.code for refusal in found}


def assert_whole(output: Storage, expected: list[str]) -> None:
    assert shas(output) == expected
    assert len(expected) == 3
    assert audit(output, contents=True).clean


def test_bursts_of_500_and_503_leave_no_trace(run: Encode, corpus: S3) -> None:
    """Case 19."""
    expected = shas(run("quiet"))
    corpus.calm()
    faults = [
        corpus.fault("GET", "corpus", "503"),
        corpus.fault("GET", PART.format(0), "500"),
        corpus.fault("GET", PART.format(1), "503", times=2),
        corpus.fault("PUT", "shards/stormy/shards/000001.parquet", "503"),
        corpus.fault("PUT", "shards/stormy/ledger/*", "500"),
    ]
    assert_whole(run("stormy"), expected)
    assert all(fault.times == 0 for fault in faults)


@pytest.mark.parametrize("damage", ["reset", "short"])
def test_half_a_body_is_noticed_and_read_again(
    run: Encode, corpus: S3, planned: tuple[Storage, list[str]], damage: Damage
) -> None:
    """Case 20: a connection reset mid-range, and an answer shorter than the range."""
    output, expected = planned
    fault = corpus.fault("GET", PART.format("[01]"), damage, times=3)
    run(output.root.rpartition("/")[2])
    assert_whole(output, expected)
    assert fault.times == 0


def test_a_write_whose_answer_is_lost_counts_once(
    run: Encode, corpus: S3, planned: tuple[Storage, list[str]]
) -> None:
    """The retry finds its own record (412), and that is no error."""
    output, expected = planned
    corpus.fault("PUT", "*/ledger/000001.json", "lost")
    run(output.root.rpartition("/")[2])
    assert_whole(output, expected)
    assert corpus.count("PUT", "*/ledger/000001.json") == 2


@pytest.mark.parametrize("damage", ["403", "expired"])
def test_credentials_that_end_midway_stop_the_run_and_quarantine_nothing(
    run: Encode, corpus: S3, planned: tuple[Storage, list[str]], damage: Damage
) -> None:
    """Case 21: after planning, so that only the reading of inputs meets it."""
    output, expected = planned
    corpus.fault("*", "corpus/tree/small/*.flac", damage, times=999)
    corpus.fault("*", "corpus/tree", damage, times=999)
    with pytest.raises(RunError, match=r"access denied .*; check the credentials") as end:
        run(output.root.rpartition("/")[2])
    assert SECRET not in str(end.value)
    assert corpus.count("*", "corpus/tree/small/*.flac") <= 3
    corpus.calm()
    run(output.root.rpartition("/")[2])
    assert_whole(output, expected)
    assert refusals(output) == {}


def test_the_command_ends_at_once_in_one_line_without_secrets(corpus: S3) -> None:
    """Case 21: everything is forbidden from the start; the traceback is asked for."""
    corpus.fault("*", "*", "403", times=999)
    script = [sys.executable, str(ROOT / "pipelines" / "encode.py"), *FLAGS]
    command = [*script, "--input", INPUT, "--output", "s3://shards/denied"]
    environment = os.environ | {"RESYN_TRACEBACK": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"failed: --input {INPUT}: access denied (")
    assert "from the standard" not in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert corpus.environment["AWS_ACCESS_KEY_ID"] not in done.stdout + done.stderr
    assert len(corpus.requests) <= 4


def test_one_object_forbidden_and_one_gone(
    run: Encode, corpus: S3, planned: tuple[Storage, list[str]]
) -> None:
    """Case 21 for single objects: quarantined, and the rest is encoded."""
    output, expected = planned
    corpus.fault("*", PART.format(0), "403", times=999)
    path = "/corpus/tree/small/101/book_1/part_1.flac"
    corpus.fault("HEAD", PART.format(1), first=lambda: _delete(corpus, path))
    run(output.root.rpartition("/")[2])
    assert refusals(output) == {"part_0.flac": "access", "part_1.flac": "access"}
    assert shas(output)[1] == expected[1]
    assert audit(output, contents=True).clean


def _delete(store: S3, path: str) -> None:
    assert store.ask("DELETE", path, b"", AUTHORIZED)[0] == 204


def test_an_object_that_changes_is_tried_again_and_then_quarantined(
    run: Encode, corpus: S3, planned: tuple[Storage, list[str]], tree: Path
) -> None:
    """Case 22: one changes between its HEAD and its GET, one since planning."""
    output, expected = planned
    name = "small/100/book_0/part_0.flac"
    other = (tree / name).read_bytes()[:-10] + bytes(10)
    corpus.fault("GET", PART.format(0), first=lambda: corpus.put(f"corpus/tree/{name}", other))
    since = "small/101/book_1/part_1.flac"
    corpus.put(f"corpus/tree/{since}", (tree / since).read_bytes()[:-10] + bytes(10))
    run(output.root.rpartition("/")[2])
    assert refusals(output) == {"part_0.flac": "changed", "part_1.flac": "changed"}
    assert (corpus.count("HEAD", PART.format(0)), corpus.count("HEAD", PART.format(1))) == (2, 2)
    assert shas(output)[1] == expected[1]
    assert audit(output, contents=True).clean
