"""A unit is committed once, whoever writes it and however often."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from resyn.codec import Codec
from resyn.data.audit import audit
from resyn.data.commit import commit_unit
from resyn.data.decode import decode_unit
from resyn.data.encode import BatchShape, encode_unit
from resyn.data.job import Job
from resyn.data.ledger import check_same, read_records, write_record
from resyn.data.plan import read_rows, read_units
from resyn.errors import RunError
from resyn.storage import open_storage
from resyn.storage_faults import explained

Maker = Callable[..., Path]
Encode = Callable[..., Job]


@pytest.fixture
def job(tmp_path: Path, make_librilight: Maker, encode: Encode, waveform: Codec) -> Job:
    """Two committed units."""
    root = make_librilight(tmp_path / "tree", seconds=(0.6, 0.7))
    return encode(root, tmp_path / "out", waveform, ("audio",), unit_minutes=0.001)


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in sorted(folder.iterdir())}


def test_the_same_bytes_may_come_twice_and_others_may_not(
    job: Job, tmp_path: Path, waveform: Codec
) -> None:
    unit = read_units(job.output)[0]
    decoded = decode_unit(job.input, read_rows(job.output, unit), 24_000, with_audio=True)
    table = encode_unit(waveform, decoded, ("audio",), BatchShape(1, 0.5))
    before = stamps(tmp_path / "out" / "shards")
    record = commit_unit(job.output, 0, table, waveform.spec, ("audio",))
    assert record == read_records(job.output)[0]
    with pytest.raises(RunError, match=r"ledger/000000.json: another run has committed other"):
        commit_unit(job.output, 0, table.slice(1), waveform.spec, ("audio",))
    assert stamps(tmp_path / "out" / "shards") == before
    assert audit(job.output, contents=True).clean


def test_of_two_records_at_once_the_first_stays(job: Job) -> None:
    record = read_records(job.output)[0]
    write_record(job.output, record)
    with pytest.raises(RunError, match="other bytes"):
        write_record(job.output, replace(record, rows=record.rows + 1))
    assert check_same(job.output, record)
    assert not check_same(job.output, replace(record, unit=7))


def test_a_full_disk_is_named_and_leaves_an_output_to_resume(
    tmp_path: Path, make_librilight: Maker, encode: Encode, waveform: Codec, job: Job
) -> None:
    """Case 26, shards: the kernel's own ENOSPC, from a file of its full device."""
    root, full = tmp_path / "tree", tmp_path / "full"
    writer = f"{socket.gethostname()}-{os.getpid()}-{threading.get_ident()}"
    (full / "shards").mkdir(parents=True)
    (full / "shards" / f"000001.parquet.{writer}.partial").symlink_to("/dev/full")
    with pytest.raises(RunError, match=r"000001.parquet: no space left on the device; free") as end:
        encode(root, full, waveform, ("audio",), unit_minutes=0.001)
    assert "\n" not in str(end.value)
    assert [record.unit for record in read_records(open_storage(str(full)))] == [0]
    encode(root, full, waveform, ("audio",), unit_minutes=0.001)
    shas = [[r.sha256 for r in read_records(out)] for out in (open_storage(str(full)), job.output)]
    assert shas[0] == shas[1]
    assert audit(open_storage(str(full)), contents=True).clean
    assert not list(full.rglob("*.partial"))


@pytest.mark.parametrize("name", ["manifest.parquet", "units.parquet", "quarantine/plan.parquet"])
def test_a_disk_that_is_full_while_planning_leaves_no_plan(
    name: str, job: Job, tmp_path: Path, encode: Encode, waveform: Codec
) -> None:
    """Case 26, the plan: what there is of it is no plan to the next run."""
    full = tmp_path / "full" / name
    full.parent.mkdir(parents=True)
    full.symlink_to("/dev/full")
    command = (tmp_path / "tree", tmp_path / "full", waveform, ("audio",))
    with (
        pytest.raises(RunError, match=r"^there: no space left on the device; free some") as end,
        explained("there"),
    ):
        encode(*command, unit_minutes=0.001)
    assert "\n" not in str(end.value)
    assert not (tmp_path / "full" / "encode.json").exists()
    full.unlink()
    again = encode(*command, unit_minutes=0.001)
    assert read_records(again.output) == read_records(job.output)
