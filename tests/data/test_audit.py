"""Nothing is lost, nothing is there twice, and a resumed output is the same output."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from resyn.codec import Codec
from resyn.data.audit import AuditReport, audit
from resyn.data.job import Job
from resyn.data.ledger import read_records
from resyn.data.quarantine import read_refusals, unit_file
from resyn.errors import UserError
from resyn.storage import open_storage
from tests.s3_proxy import S3

Encode = Callable[..., Job]
Maker = Callable[..., Path]

AGAIN = "delete its ledger record and run the same command again"


def audited(folder: Path) -> AuditReport:
    return audit(open_storage(str(folder)), contents=True)


@pytest.fixture
def output(encoded: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    shutil.copytree(encoded / "out", tmp_path / "out")
    return tmp_path / "out"


def test_a_whole_output_is_clean(encoded: Path) -> None:
    report = audited(encoded / "out")
    assert report.clean
    assert report.planned == report.committed == 7
    assert "audit clean: 7 segments planned = 7 committed + 0 quarantined" in str(report)


def test_it_sees_a_missing_shard_and_a_flipped_byte(output: Path) -> None:
    (output / "shards" / "000000.parquet").unlink()
    spoilt = output / "shards" / "000001.parquet"
    content = bytearray(spoilt.read_bytes())
    content[len(content) // 2] ^= 1
    spoilt.write_bytes(content)
    problems = audited(output).problems
    assert len(problems) == 2
    assert "000000.parquet is missing" in problems[0]
    assert "000001.parquet does not match its sha256" in problems[1]


@pytest.mark.parametrize("contents", [True, False])
def test_what_cannot_be_read_is_a_problem_of_its_unit(output: Path, contents: bool) -> None:
    """A shard without its end, one that is gone, a plan's refusals that are gone: a line each."""
    shards = [output / "shards" / f"{unit:06d}.parquet" for unit in range(2)]
    shards[0].write_bytes(shards[0].read_bytes()[:-9])
    shards[1].unlink()
    (output / "quarantine" / "plan.parquet").unlink()
    plan, cut, gone = audit(open_storage(str(output)), contents).problems
    assert plan.startswith("quarantine/plan.parquet is missing; ")
    how = "does not match its sha256; " if contents else r"is damaged \(.*\); "
    assert re.fullmatch(f"unit 0: shards/000000.parquet {how}{AGAIN}", cut)
    assert gone == f"unit 1: shards/000001.parquet is missing; {AGAIN}"


def test_refusals_that_are_gone_are_a_problem_of_their_unit(output: Path) -> None:
    ledger = output / "ledger" / "000001.json"
    record = json.loads(ledger.read_text())
    ledger.write_text(json.dumps(record | {"quarantine": {"decode": 1}}))
    (problem,) = audited(output).problems
    assert problem == f"unit 1: quarantine/000001.parquet is missing; {AGAIN}"


def test_it_sees_rows_lost_and_doubled(output: Path) -> None:
    shutil.copy(output / "shards" / "000000.parquet", output / "shards" / "000001.parquet")
    record = json.loads((output / "ledger" / "000001.json").read_text())
    other = json.loads((output / "ledger" / "000000.json").read_text())
    kept = {"unit": 1, "shard": "shards/000001.parquet"}
    (output / "ledger" / "000001.json").write_text(json.dumps(record | other | kept))
    assert any("are lost" in problem for problem in audited(output).problems)
    assert any("too many" in problem for problem in audited(output).problems)


def test_an_output_in_a_bucket_is_audited_alike(s3: S3, output: Path) -> None:
    """Many units at a time, and the manifest read once."""
    (output / "shards" / "000000.parquet").unlink()
    (output / "ledger" / "000001.json").unlink()
    s3.upload(output, "audited")
    s3.calm()
    there = audit(open_storage("s3://audited"), contents=True)
    assert there == audited(output)
    assert len(there.problems) == 2
    assert s3.count("GET", "audited/manifest.parquet") <= 2


def test_a_unit_without_a_record_is_not_committed(output: Path) -> None:
    (output / "ledger" / "000001.json").unlink()
    (problem,) = audited(output).problems
    assert "unit 1: not committed" in problem


def test_a_resumed_output_has_the_same_bytes(
    encoded: Path, output: Path, encode: Encode, codec: Codec
) -> None:
    before = {r.unit: r.sha256 for r in read_records(open_storage(str(output)))}
    stamps = {p.name: p.stat().st_mtime_ns for p in (output / "shards").iterdir()}
    (output / "ledger" / "000001.json").unlink()
    (output / "shards" / "000002.parquet.partial").write_bytes(b"half")
    encode(encoded / "tree", output, codec, ("codes", "z", "audio"))
    after = {r.unit: r.sha256 for r in read_records(open_storage(str(output)))}
    changed = {
        path.name
        for path in (output / "shards").iterdir()
        if path.stat().st_mtime_ns != stamps.get(path.name)
    }
    assert after == before
    assert changed == {"000001.parquet"}
    assert audited(output).clean


def test_spoilt_files_end_in_quarantine_and_the_rest_is_encoded(
    tmp_path: Path,
    make_librilight: Maker,
    spoil: Callable[[Path], None],
    encode: Encode,
    waveform: Codec,
) -> None:
    root = make_librilight(tmp_path / "tree", seconds=(1.0, 1.5))
    spoil(root / "small")
    not_finite = np.full(16_000, np.nan, np.float32)
    soundfile.write(root / "small" / "nan.wav", not_finite, 16_000, subtype="FLOAT")
    job = encode(root, tmp_path / "out", waveform, ("audio",), segment_seconds=30.0)
    assert job.summary.refused == {"empty": 1, "magic": 1}
    records = read_records(job.output)
    refusals = [
        refusal
        for record in records
        if record.quarantined
        for refusal in read_refusals(job.output, unit_file(record.unit))
    ]
    assert {r.source_uri: r.code for r in refusals} == {
        "small/cut.flac": "truncated",
        "small/nan.wav": "nonfinite",
    }
    report = audited(tmp_path / "out")
    assert report.clean
    assert (report.planned, report.committed, report.quarantined) == (4, 2, 2)
    assert report.refused_files == 2


def test_a_segment_before_the_damage_is_kept(
    tmp_path: Path, spoil: Callable[[Path], None], encode: Encode, waveform: Codec
) -> None:
    spoil(tmp_path / "tree")
    job = encode(tmp_path / "tree", tmp_path / "out", waveform, ("audio",), segment_seconds=1.0)
    records = read_records(job.output)
    assert sum(record.rows for record in records) == 1
    assert sum(record.quarantined for record in records) == 3


def test_another_recipe_is_refused_with_the_difference(
    encoded: Path, encode: Encode, codec: Codec, waveform: Codec
) -> None:
    """Case 28, for who encodes; tests/data/test_shards.py has who reads."""
    tree, output = encoded / "tree", encoded / "out"
    with pytest.raises(UserError, match=r"plan\.segment_seconds is 1\.0 there, 2\.0 here"):
        encode(tree, output, codec, ("codes", "z", "audio"), segment_seconds=2.0)
    with pytest.raises(UserError, match=r"codec\.name is encodec_24khz_random there"):
        encode(tree, output, waveform, ("audio",))
    with pytest.raises(UserError, match="makes no codes and no z; use --columns audio"):
        encode(tree, output, waveform, ("codes", "z"))


def test_a_changed_input_is_refused(
    tmp_path: Path, make_librilight: Maker, encode: Encode, waveform: Codec
) -> None:
    root = make_librilight(tmp_path / "tree", seconds=(1.0,))
    encode(root, tmp_path / "out", waveform, ("audio",))
    soundfile.write(root / "small" / "new.flac", np.zeros(8_000), 16_000)
    with pytest.raises(UserError, match="files have changed"):
        encode(root, tmp_path / "out", waveform, ("audio",))


def test_the_ledger_counts_what_the_shard_holds(encoded: Path) -> None:
    for record in read_records(open_storage(str(encoded / "out"))):
        content = (encoded / "out" / record.shard).read_bytes()
        assert hashlib.sha256(content).hexdigest() == record.sha256
        assert record.bytes == len(content)
        assert record.tokens == 8 * record.frames
        assert record.frames == pytest.approx(75 * record.seconds, abs=record.rows)
