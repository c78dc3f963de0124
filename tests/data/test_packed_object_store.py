"""Cases 19 to 22 for audio inside archives and tables that lie in a store."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from resyn.codec import Codec
from resyn.data.audit import audit
from resyn.data.decode import decode_unit
from resyn.data.job import Job
from resyn.data.ledger import read_records
from resyn.data.plan import PlanSettings, read_rows, read_units, write_plan
from resyn.errors import RunError
from resyn.storage import open_storage
from tests.data import shapes
from tests.s3_proxy import S3, Damage

Run = Callable[[Path], Job]


def tar(root: Path, clips: list[shapes.Clip]) -> Path:
    return shapes.write_tar(root / "all.tar", [(f"{clip.name}.flac", clip.flac) for clip in clips])


@pytest.fixture(scope="module", params=[tar, shapes.parquet])
def packed(request: pytest.FixtureRequest, make_tone: Any, tmp_path_factory: Any) -> Path:
    """One archive or table of three clips, to lie in a bucket named like its folder."""
    root = tmp_path_factory.mktemp("packed") / f"packed-{request.param.__name__}"
    return request.param(root, shapes.make_clips(make_tone))


@pytest.fixture(scope="module")
def run(packed: Path, encode: Callable[..., Job], waveform: Codec) -> Run:
    """Encodes the bucket to a folder, in this process, one clip a unit."""

    def to(output: Path) -> Job:
        lengths = {"segment_seconds": 30.0, "unit_minutes": 0.001}
        return encode(bucket(packed), output, waveform, ("audio",), **lengths)

    return to


@pytest.fixture(scope="module")
def whole(s3_session: S3, packed: Path, run: Run, tmp_path_factory: Any) -> Path:
    s3_session.upload(packed.parent, packed.parent.name)
    output = tmp_path_factory.mktemp("whole") / "out"
    run(output)
    return output


@pytest.fixture
def job(s3: S3, packed: Path, whole: Path, run: Run, tmp_path: Path) -> Job:
    """A copy of `whole`, taken up while the store was well."""
    s3.upload(packed.parent, packed.parent.name)
    shutil.copytree(whole, tmp_path / "out")
    job = run(tmp_path / "out")
    s3.calm()
    return job


def bucket(packed: Path) -> str:
    return f"s3://{packed.parent.name}"


def path_of(packed: Path) -> str:
    return f"{packed.parent.name}/{packed.name}"


def faults(job: Job) -> list[str | None]:
    """Decodes all, as the workers do: why a segment is refused, or None."""
    tables = (read_rows(job.output, unit) for unit in read_units(job.output))
    made = [decode_unit(job.input, rows, 24_000, False)["fault_code"] for rows in tables]
    return [code for column in made for code in column.to_pylist()]


@pytest.mark.parametrize("damage", ["403", "expired"])
def test_credentials_that_end_midway_stop_the_run(s3: S3, job: Job, damage: Damage) -> None:
    """Case 21: no row is refused for it, which no resume would take up again."""
    s3.fault("*", "*", damage, times=999)
    with pytest.raises(RunError, match=r"access denied .*; check the credentials"):
        faults(job)
    s3.calm()
    assert faults(job) == [None] * 3


def test_rights_to_read_that_end_midway_stop_the_run(s3: S3, job: Job, packed: Path) -> None:
    """Case 21: what may still be listed is not there for us."""
    s3.fault("GET", path_of(packed), "403", times=999)
    with pytest.raises(RunError, match=r"access denied \(AccessDenied\)"):
        faults(job)


def test_a_store_that_fails_while_it_is_read_stops_the_run(s3: S3, job: Job, packed: Path) -> None:
    """Case 19, when the retries are used up: no row is damaged by it."""
    s3.fault("GET", path_of(packed), "failing", times=999)
    with pytest.raises(OSError, match="as ordered"):
        faults(job)
    s3.calm()
    assert faults(job) == [None] * 3


@pytest.mark.usefixtures("job")
def test_a_store_that_fails_while_it_is_planned_ends_the_plan(
    s3: S3, packed: Path, tmp_path: Path
) -> None:
    """Case 19: else the rest of the container would be missing from the plan for good."""
    kind = "webdataset" if packed.suffix == ".tar" else "parquet"
    root, output = open_storage(bucket(packed)), open_storage(str(tmp_path / "plan"))
    plan = partial(write_plan, root, output, PlanSettings(kind, 30.0, 1.0))
    s3.fault("GET", path_of(packed), "failing")
    with pytest.raises(OSError, match="as ordered"):
        plan()
    assert plan().segments == 3


@pytest.mark.usefixtures("job")
def test_objects_that_are_listed_and_cannot_be_read_end_the_plan(
    s3: S3, packed: Path, tmp_path: Path
) -> None:
    """Case 21: ListBucket is granted and GetObject, or the key that decrypts, is not."""
    kind = "webdataset" if packed.suffix == ".tar" else "parquet"
    root, output = open_storage(bucket(packed)), open_storage(str(tmp_path / "plan"))
    s3.fault("GET", path_of(packed), "403", times=999)
    with pytest.raises(RunError, match=r"access denied \(AccessDenied\)"):
        write_plan(root, output, PlanSettings(kind, 30.0, 1.0))
    assert not output.exists("encode.json")


def other(packed: Path) -> bytes:
    """Of the same length and as readable: it differs in what nobody reads."""
    content = packed.read_bytes()
    return content.replace(b"/somewhere/", b"/elsewhere/").replace(b"ustar", b"usual")


def test_a_container_replaced_since_planning_is_quarantined(
    s3: S3, job: Job, packed: Path, run: Run
) -> None:
    """Case 22: its rows are not encoded under the labels of the old one."""
    shutil.rmtree(Path(job.output.root) / "ledger")
    s3.put(path_of(packed), other(packed))
    records = read_records(run(Path(job.output.root)).output)
    assert [(record.rows, record.quarantine) for record in records] == [(0, {"changed": 1})] * 3
    assert audit(job.output, contents=True).clean


def test_a_container_that_changes_while_it_is_read_is_tried_again(
    s3: S3, job: Job, packed: Path
) -> None:
    """Case 22: between its HEAD and its GET, and then it is again what was planned."""
    path = path_of(packed)
    s3.fault("GET", path, first=lambda: s3.put(path, other(packed)))
    s3.fault("HEAD", path)
    s3.fault("HEAD", path, first=lambda: s3.put(path, packed.read_bytes()))
    assert faults(job) == [None] * 3
    assert all(fault.times == 0 for fault in s3.faults)
