"""Cases 19 to 22: a real S3 server behind a proxy that does damage."""

from __future__ import annotations

import os
import shutil
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
from resyn.storage import Storage, open_storage
from tests.s3_proxy import AUTHORIZED, S3, SECRET, Damage

ROOT = Path(__file__).parents[2]
INPUT = "s3://corpus/tree"
PART = "corpus/tree/small/*/part_{}.flac"
FLAGS = ["--codec", "waveform_24khz", "--columns", "audio"]
Run = Callable[[str | Path], Storage]


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


@pytest.fixture(scope="module")
def run(encode: Callable[..., Job], waveform: Codec) -> Run:
    """Encodes `INPUT` to a folder, in this process."""

    def to(output: str | Path) -> Storage:
        return encode(INPUT, output, waveform, ("audio",), unit_minutes=0.001).output

    return to


@pytest.fixture(scope="module")
def whole(s3_session: S3, tree: Path, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local output, made while the store was well."""
    s3_session.upload(tree.parent, "corpus")
    output = tmp_path_factory.mktemp("whole") / "out"
    run(output)
    return output


@pytest.fixture
def planned(corpus: S3, whole: Path, tmp_path: Path) -> Path:
    """A copy of `whole` whose units are to be encoded again: only inputs come from the store."""
    shutil.copytree(whole, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "ledger")
    return tmp_path / "out"


@pytest.fixture(scope="module")
def expected(whole: Path) -> list[str]:
    return shas(open_storage(str(whole)))


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


def test_bursts_of_500_and_503_leave_no_trace(run: Run, corpus: S3, expected: list[str]) -> None:
    """Case 19, and a record whose answer is lost: its retry finds itself (412)."""
    faults = [
        corpus.fault("GET", "corpus", "503"),
        corpus.fault("GET", PART.format(1), "503", times=2),
        corpus.fault("PUT", "shards/out/shards/000001.parquet", "500"),
        corpus.fault("PUT", "shards/out/ledger/000001.json", "lost"),
    ]
    assert_whole(run("s3://shards/out"), expected)
    assert all(fault.times == 0 for fault in faults)
    assert corpus.count("PUT", "*/ledger/000001.json") == 2


@pytest.mark.parametrize("damage", ["reset", "short"])
def test_half_a_body_is_noticed_and_read_again(
    run: Run, corpus: S3, planned: Path, expected: list[str], damage: Damage
) -> None:
    """Case 20: a connection reset mid-range, and an answer shorter than the range."""
    fault = corpus.fault("GET", PART.format("[01]"), damage, times=3)
    output = run(planned)
    assert_whole(output, expected)
    assert fault.times == 0


@pytest.mark.parametrize("damage", ["403", "expired"])
def test_credentials_that_end_midway_stop_the_run_and_quarantine_nothing(
    run: Run, corpus: S3, planned: Path, expected: list[str], damage: Damage
) -> None:
    """Case 21: after planning, so that only the reading of inputs meets it."""
    corpus.fault("*", "corpus/tree/small/*.flac", damage, times=999)
    corpus.fault("*", "corpus/tree", damage, times=999)
    with pytest.raises(RunError, match=r"access denied .*; check the credentials") as end:
        run(planned)
    assert SECRET not in str(end.value)
    assert corpus.count("*", "corpus/tree/small/*.flac") <= 3
    corpus.calm()
    output = run(planned)
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


def test_a_tree_that_is_listed_and_cannot_be_read_ends_the_plan(
    run: Run, corpus: S3, tmp_path: Path, expected: list[str]
) -> None:
    """Case 21: with a small input no share of refused files would fail the job."""
    corpus.fault("GET", "corpus/tree/small/*", "403", times=999)
    with pytest.raises(RunError, match=r"access denied \(AccessDenied\)"):
        run(tmp_path / "out")
    assert len(corpus.requests) < 60
    corpus.calm()
    assert_whole(run(tmp_path / "out"), expected)


def test_a_folder_that_is_forbidden_is_quarantined_and_the_rest_is_encoded(
    run: Run, corpus: S3, tmp_path: Path
) -> None:
    """Case 21: the first of them comes before anything was read."""
    corpus.fault("*", "corpus/tree/small/100/*.flac", "403", times=999)
    output = run(tmp_path / "out")
    assert refusals(output) == {"part_0.flac": "access", "part_2.flac": "access"}
    assert sum(record.rows for record in read_records(output)) == 1
    assert audit(output, contents=True).clean


def test_one_object_forbidden_and_one_gone(
    run: Run, corpus: S3, planned: Path, expected: list[str]
) -> None:
    """Case 21 for single objects: quarantined, and the rest is encoded."""
    corpus.fault("*", PART.format(0), "403", times=999)
    path = "/corpus/tree/small/101/book_1/part_1.flac"
    corpus.fault("HEAD", PART.format(1), first=lambda: _delete(corpus, path))
    output = run(planned)
    assert refusals(output) == {"part_0.flac": "access", "part_1.flac": "access"}
    assert shas(output)[1] == expected[1]
    assert audit(output, contents=True).clean


def _delete(store: S3, path: str) -> None:
    assert store.ask("DELETE", path, b"", AUTHORIZED)[0] == 204


def test_an_object_that_changes_is_tried_again_and_then_quarantined(
    run: Run, corpus: S3, planned: Path, expected: list[str], tree: Path
) -> None:
    """Case 22: one changes between its HEAD and its GET, one since planning."""
    name = "small/100/book_0/part_0.flac"
    other = (tree / name).read_bytes()[:-10] + bytes(10)
    corpus.fault("GET", PART.format(0), first=lambda: corpus.put(f"corpus/tree/{name}", other))
    since = "small/101/book_1/part_1.flac"
    corpus.put(f"corpus/tree/{since}", (tree / since).read_bytes()[:-10] + bytes(10))
    output = run(planned)
    assert refusals(output) == {"part_0.flac": "changed", "part_1.flac": "changed"}
    assert (corpus.count("HEAD", PART.format(0)), corpus.count("HEAD", PART.format(1))) == (2, 2)
    assert shas(output)[1] == expected[1]
    assert audit(output, contents=True).clean
