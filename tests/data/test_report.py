"""What an encode prints."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from resyn.codec import load_codec
from resyn.corpus import write_librilight
from resyn.data.audit import AuditReport
from resyn.data.job import Job
from resyn.data.ledger import CommitRecord, read_records
from resyn.data.report import Progress, check_quarantine, plan_lines, show_bytes, show_time
from resyn.errors import RunError


def _record(seconds: float, refused: int = 0) -> CommitRecord:
    return CommitRecord(
        unit=0,
        shard="shards/000000.parquet",
        sha256="",
        bytes=0,
        rows=0,
        seconds=seconds,
        frames=0,
        tokens=0,
        quarantine={"empty_file": refused} if refused else {},
    )


def test_a_unit_that_encoded_nothing_is_counted_and_promises_no_time() -> None:
    progress = Progress(num_units=2, seconds=10.0)
    assert progress.line(_record(0.0, refused=3)) == "unit 1/2  0.000 h"
    assert "left" in progress.line(_record(10.0))
    assert progress.closing().startswith("encoded 0.003 h")


@pytest.mark.parametrize(
    ("name", "columns", "tolerance"),
    [("demo_24khz", ("codes", "z"), 0.05), ("waveform_24khz", ("audio",), 0.3)],
)
def test_the_size_that_a_dry_run_promises_is_the_size_of_the_shards(
    tmp_path: Path,
    encode: Callable[..., Job],
    name: str,
    columns: tuple[str, ...],
    tolerance: float,
) -> None:
    """Tokens have a rate; how well FLAC does depends on the speech."""
    codec = load_codec(name)
    write_librilight(tmp_path / "speech", minutes=1)
    whole = {"segment_seconds": 30.0, "unit_minutes": 30.0}
    job = encode(tmp_path / "speech", tmp_path / "out", codec, columns, **whole)
    found = re.search(r"about ([\d.]+) MB of", plan_lines(job.summary, codec.spec, columns))
    assert found is not None
    made = sum(record.bytes for record in read_records(job.output))
    assert float(found[1]) * 1e6 == pytest.approx(made, rel=tolerance)


def test_sizes_and_durations_read_as_people_write_them() -> None:
    assert [show_bytes(n) for n in (999, 1500, 2.5e9, 4e15)] == [
        "999 B",
        "1.5 kB",
        "2.5 GB",
        "4000.0 TB",
    ]
    assert [show_time(s) for s in (42, 200, 5 * 3600 + 7 * 60)] == [
        "42 s",
        "3 min 20 s",
        "5 h 07 min",
    ]


def test_a_large_input_may_lose_a_twentieth_and_a_small_one_what_it_must() -> None:
    check_quarantine(AuditReport(planned=990, quarantined=40, refused_files=10), None, "out")
    with pytest.raises(RunError, match=r"5\.1% of the input is quarantined"):
        check_quarantine(AuditReport(planned=990, quarantined=41, refused_files=10), None, "out")
    check_quarantine(AuditReport(planned=10, quarantined=9, refused_files=5), None, "out")
    with pytest.raises(RunError, match=r"above --max-quarantine 0\.1"):
        check_quarantine(AuditReport(planned=10, quarantined=2), 0.1, "out")


def test_a_damaged_archive_fails_the_job_unless_every_loss_is_accepted() -> None:
    """It counts as one file among thousands, and may have held more than all of them."""
    lost = {"a.tar": "truncated: the archive breaks off at byte 5"}
    report = AuditReport(planned=5000, committed=5000, refused_files=1, lost=lost)
    for most in (None, 0.5):
        with pytest.raises(RunError, match="1 damaged archives or tables are not wholly in"):
            check_quarantine(report, most, "out")
    check_quarantine(report, 1.0, "out")
    assert "1 archive or table is damaged (a.tar, truncated: the archive breaks" in str(report)
