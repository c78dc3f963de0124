"""A unit is committed once, whoever writes it and however often."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest

from resyn.codec import Codec
from resyn.data.audit import audit
from resyn.data.commit import commit_unit
from resyn.data.decode import decode_unit
from resyn.data.encode import BatchShape, encode_unit
from resyn.data.job import Job
from resyn.data.ledger import check_same, other_arithmetic, read_records, write_record
from resyn.data.plan import read_rows, read_units
from resyn.errors import RunError
from resyn.storage import Storage, open_storage
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


@dataclass(frozen=True)
class Late(Storage):
    """Of a writer that was held up: before its shard is written, `first` is done."""

    first: Callable[[], object] = list

    def write_bytes(self, name: str, data: bytes) -> None:
        """See `Storage`."""
        if name.startswith("shards/"):
            self.first()
        super().write_bytes(name, data)


def test_a_late_writer_is_welcome_with_the_same_bytes_and_else_says_what_it_spoilt(
    job: Job, tmp_path: Path, waveform: Codec
) -> None:
    decoded = decode_unit(
        job.input, read_rows(job.output, read_units(job.output)[0]), 24_000, with_audio=True
    )
    table = encode_unit(waveform, decoded, ("audio",), BatchShape(1, 0.5))
    usual = (waveform.spec, ("audio",))

    def race(name: str, mine: pa.Table) -> Storage:
        output = open_storage(str(tmp_path / name))
        late = Late(output.fs, output.root, lambda: commit_unit(output, 0, table, *usual))
        commit_unit(late, 0, mine, *usual)
        return output

    output = race("same", table)
    assert read_records(output) == read_records(job.output)[:1]
    shard = output.read_bytes("shards/000000.parquet")
    assert shard == job.output.read_bytes("shards/000000.parquet")
    spoilt = r"shards/000000\.parquet: written by this run over .*delete ledger/000000\.json there"
    with pytest.raises(RunError, match=spoilt):
        race("other", table.slice(1))


def test_a_record_says_how_its_unit_was_computed(job: Job, tmp_path: Path, waveform: Codec) -> None:
    decoded = decode_unit(
        job.input, read_rows(job.output, read_units(job.output)[0]), 24_000, with_audio=True
    )
    table = encode_unit(waveform, decoded, ("audio",), BatchShape(1, 0.5))
    output = open_storage(str(tmp_path / "again"))
    made = {"device": "cuda", "batch_size": 32}
    assert other_arithmetic(output, made) == ""
    commit_unit(output, 0, table, waveform.spec, ("audio",), arithmetic=made)
    assert read_records(output)[0].arithmetic == made
    assert other_arithmetic(output, made) == ""
    difference = other_arithmetic(output, made | {"batch_size": 16})
    assert difference == "batch_size 32 there, 16 here"
    assert other_arithmetic(job.output, made) == "", "records of before name none"


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
