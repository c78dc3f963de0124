"""Proof that nothing was lost and nothing is there twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256

import pyarrow.parquet as pq

from resyn.data import ledger, quarantine
from resyn.data.damage import damage
from resyn.data.in_order import map_in_order
from resyn.data.job import JOB_FILE
from resyn.data.ledger import CommitRecord
from resyn.data.plan import MANIFEST_FILE, planned_ids, read_units
from resyn.data.units import WorkUnit
from resyn.storage import Storage

_AGAIN = "delete its ledger record and run the same command again"
_NO_PLAN = "the plan is not whole: choose a new --output"


@dataclass(slots=True)
class AuditReport:
    """Segments planned, committed and quarantined, and every way in which they do not agree.

    `refused_files` were unusable at planning and have no segments. `lost` says of each damaged
    archive or table why what it held is not in the plan; how much that is nobody knows.
    """

    planned: int = 0
    committed: int = 0
    quarantined: int = 0
    refused_files: int = 0
    lost: dict[str, str] = field(default_factory=dict)
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
            f"{show_lost(self.lost)}"
        )


def show_lost(lost: Mapping[str, str]) -> str:
    """Damaged archives and tables as a clause to follow others; empty when there are none."""
    if not lost:
        return ""
    uri, why = min(lost.items())
    what = "1 archive or table is" if len(lost) == 1 else f"{len(lost)} archives or tables are"
    first = f"{uri}, {why}" if len(lost) == 1 else f"first {uri}, {why}"
    return f"; {what} damaged ({first}); what cannot be read of it is not in the plan"


class _UnreadableError(Exception):
    """A file of an output that is missing or damaged; the message says which, and what helps."""


def audit(output: Storage, contents: bool) -> AuditReport:
    """Check every unit of an output; with `contents` also the sha256 of every shard."""
    report = AuditReport(lost=output.read_json(JOB_FILE)["plan"].get("lost", {}))
    try:
        with _reading(quarantine.PLAN, _NO_PLAN):
            report.refused_files = len(quarantine.read_refusals(output, quarantine.PLAN))
    except _UnreadableError as fault:
        report.problems.append(str(fault))
    records = {record.unit: record for record in ledger.read_records(output)}

    def check(planned: tuple[WorkUnit, list[str]]) -> list[str]:
        unit, utt_ids = planned
        if (record := records.get(unit.unit)) is None:
            return [f"unit {unit.unit}: not committed; run the same command again"]
        try:
            return _check_unit(output, utt_ids, record, contents)
        except _UnreadableError as fault:
            return [f"unit {unit.unit}: {fault}"]

    units = read_units(output)
    try:
        with _reading(MANIFEST_FILE, _NO_PLAN):
            for problems in map_in_order(check, planned_ids(output, units), output.at_once):
                report.problems += problems
    except _UnreadableError as fault:
        report.problems.append(str(fault))
    for unit in units:
        report.planned += unit.num_rows
        if record := records.pop(unit.unit, None):
            report.committed += record.rows
            report.quarantined += record.quarantined
    report.problems += [f"unit {unit}: committed but never planned" for unit in records]
    return report


def _check_unit(
    output: Storage, planned: list[str], record: CommitRecord, contents: bool
) -> list[str]:
    where = f"unit {record.unit}: {record.shard}"
    with _reading(record.shard, _AGAIN):
        if contents and sha256(output.read_bytes(record.shard)).hexdigest() != record.sha256:
            return [f"{where} does not match its sha256; {_AGAIN}"]
        with output.open(record.shard) as source:
            shard = pq.ParquetFile(source, page_checksum_verification=True)
            found = shard.read(["utt_id"])["utt_id"].to_pylist()
    if len(found) != record.rows:
        return [f"{where} has {len(found)} rows, its record says {record.rows}; {_AGAIN}"]
    if record.quarantined:
        refused = quarantine.unit_file(record.unit)
        with _reading(refused, _AGAIN):
            found += [refusal.utt_id for refusal in quarantine.read_refusals(output, refused)]
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
