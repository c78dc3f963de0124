"""Proof that nothing was lost and nothing is there twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256

import pyarrow.parquet as pq

from resyn.data import ledger, quarantine
from resyn.data.damage import damage
from resyn.data.ledger import CommitRecord
from resyn.data.plan import MANIFEST_FILE, read_rows, read_units
from resyn.data.units import WorkUnit
from resyn.storage import Storage

_AGAIN = "delete its ledger record and run the same command again"
_NO_PLAN = "the plan is not whole: choose a new --output"


@dataclass(slots=True)
class AuditReport:
    """Segments planned, committed and quarantined, and every way in which they do not agree.

    `refused_files` were unusable at planning and have no segments.
    """

    planned: int = 0
    committed: int = 0
    quarantined: int = 0
    refused_files: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """True when planned = committed + quarantined, and everything is where it should be."""
        return not self.problems

    def __str__(self) -> str:
        verdict = "clean" if self.clean else f"{len(self.problems)} problems"
        return (
            f"audit {verdict}: {self.planned} segments planned = {self.committed} committed + "
            f"{self.quarantined} quarantined; {self.refused_files} files refused at planning"
        )


class _UnreadableError(Exception):
    """A file of an output that is missing or damaged; the message says which, and what helps."""


def audit(output: Storage, contents: bool) -> AuditReport:
    """Check every unit of an output; with `contents` also the sha256 of every shard."""
    report = AuditReport()
    try:
        with _reading(quarantine.PLAN, _NO_PLAN):
            report.refused_files = len(quarantine.read_refusals(output, quarantine.PLAN))
    except _UnreadableError as fault:
        report.problems.append(str(fault))
    records = {record.unit: record for record in ledger.read_records(output)}
    for unit in read_units(output):
        report.planned += unit.num_rows
        record = records.pop(unit.unit, None)
        if record is None:
            report.problems.append(f"unit {unit.unit}: not committed; run the same command again")
            continue
        report.committed += record.rows
        report.quarantined += record.quarantined
        try:
            report.problems += _check_unit(output, unit, record, contents)
        except _UnreadableError as fault:
            report.problems.append(f"unit {unit.unit}: {fault}")
    report.problems += [f"unit {unit}: committed but never planned" for unit in records]
    return report


def _check_unit(output: Storage, unit: WorkUnit, record: CommitRecord, contents: bool) -> list[str]:
    where = f"unit {unit.unit}: {record.shard}"
    with _reading(record.shard, _AGAIN):
        if contents and sha256(output.read_bytes(record.shard)).hexdigest() != record.sha256:
            return [f"{where} does not match its sha256; {_AGAIN}"]
        with output.open(record.shard) as source:
            shard = pq.ParquetFile(source, page_checksum_verification=True)
            found = shard.read(["utt_id"])["utt_id"].to_pylist()
    if len(found) != record.rows:
        return [f"{where} has {len(found)} rows, its record says {record.rows}; {_AGAIN}"]
    if record.quarantined:
        refused = quarantine.unit_file(unit.unit)
        with _reading(refused, _AGAIN):
            found += [refusal.utt_id for refusal in quarantine.read_refusals(output, refused)]
    with _reading(MANIFEST_FILE, _NO_PLAN):
        planned = read_rows(output, unit)["utt_id"].to_pylist()
    return _differences(where, Counter(planned), Counter(found))


@contextmanager
def _reading(file: str, remedy: str) -> Iterator[None]:
    """Turns what a missing or damaged `file` raises into _UnreadableError."""
    try:
        yield
    except Exception as error:
        if (found := damage(error)) is None:
            raise
        raise _UnreadableError(f"{file} {found}; {remedy}") from None


def _differences(where: str, planned: Counter[str], found: Counter[str]) -> list[str]:
    problems: list[str] = []
    if lost := planned - found:
        problems.append(f"{where}: {lost.total()} segments are lost, first {min(lost)}")
    if extra := found - planned:
        problems.append(f"{where}: {extra.total()} segments too many, first {min(extra)}")
    return problems
