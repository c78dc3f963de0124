"""Proof that nothing was lost and nothing is there twice."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow.parquet as pq

from resyn.data import ledger, quarantine
from resyn.data.job import JOB_FILE
from resyn.data.ledger import CommitRecord
from resyn.data.plan import read_rows, read_units
from resyn.data.units import WorkUnit
from resyn.storage import Storage


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


def audit(output: Storage, contents: bool) -> AuditReport:
    """Check every unit of an output; with `contents` also the sha256 of every shard."""
    report = AuditReport(
        refused_files=len(quarantine.read_refusals(output, quarantine.PLAN)),
        lost=output.read_json(JOB_FILE)["plan"].get("lost", {}),
    )
    records = {record.unit: record for record in ledger.read_records(output)}
    for unit in read_units(output):
        report.planned += unit.num_rows
        record = records.pop(unit.unit, None)
        if record is None:
            report.problems.append(f"unit {unit.unit}: not committed; run the same command again")
            continue
        report.committed += record.rows
        report.quarantined += record.quarantined
        report.problems += _check_unit(output, unit, record, contents)
    report.problems += [f"unit {unit}: committed but never planned" for unit in records]
    return report


def _check_unit(output: Storage, unit: WorkUnit, record: CommitRecord, contents: bool) -> list[str]:
    where = f"unit {unit.unit}: {record.shard}"
    if not output.exists(record.shard):
        return [f"{where} is missing; delete its ledger record and run the same command again"]
    if contents and hashlib.sha256(output.read_bytes(record.shard)).hexdigest() != record.sha256:
        return [
            f"{where} does not match its sha256; delete its ledger record and run the same "
            "command again"
        ]
    with output.open(record.shard) as source:
        found = pq.ParquetFile(source).read(["utt_id"])["utt_id"].to_pylist()
    if len(found) != record.rows:
        return [f"{where} has {len(found)} rows, its record says {record.rows}"]
    if record.quarantined:
        refusals = quarantine.read_refusals(output, quarantine.unit_file(unit.unit))
        found += [refusal.utt_id for refusal in refusals]
    planned = read_rows(output, unit)["utt_id"].to_pylist()
    return _differences(where, Counter(planned), Counter(found))


def _differences(where: str, planned: Counter[str], found: Counter[str]) -> list[str]:
    problems: list[str] = []
    if lost := planned - found:
        problems.append(f"{where}: {lost.total()} segments are lost, first {min(lost)}")
    if extra := found - planned:
        problems.append(f"{where}: {extra.total()} segments too many, first {min(extra)}")
    return problems
