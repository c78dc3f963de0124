"""Planning: an input folder to a manifest, its work units and the files refused at once.

Files are listed, probed and written as a stream.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from resyn.data.manifest import ManifestRow, plan_file
from resyn.data.quarantine import PLAN, Refusal, write_refusals
from resyn.data.schema import MANIFEST, UNITS
from resyn.data.sources import SOURCES, Source, SourceFile
from resyn.data.units import WorkUnit, group_units
from resyn.storage import Storage

MANIFEST_FILE = "manifest.parquet"
UNITS_FILE = "units.parquet"
_ROW_GROUP = 4096


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What shapes a plan: the kind of source, lengths, and a split's name or an empty one."""

    source: str
    segment_seconds: float
    unit_minutes: float
    split: str = ""


@dataclass(slots=True)
class PlanSummary:
    """What was planned. `refused` counts files by code; `seconds` is audio in segments."""

    files: int = 0
    segments: int = 0
    units: int = 0
    seconds: float = 0.0
    refused: dict[str, int] = field(default_factory=dict)
    listing_sha256: str = ""


class Planner:
    """One pass over an input."""

    def __init__(self, root: Storage, settings: PlanSettings) -> None:
        self._root = root
        self._settings = settings
        self._source: Source = SOURCES[settings.source]()
        self._listing = hashlib.sha256()
        self.summary = PlanSummary()
        self.refusals: list[Refusal] = []

    def units(self) -> Iterator[list[ManifestRow]]:
        """The work units in order; `summary` and `refusals` are complete afterwards."""
        for unit in group_units(self._rows(), self._settings.unit_minutes * 60):
            self.summary.units += 1
            self.summary.segments += len(unit)
            self.summary.seconds += sum(row.seconds for row in unit)
            yield unit
        self.summary.listing_sha256 = self._listing.hexdigest()
        self.summary.refused = dict(sorted(Counter(r.code for r in self.refusals).items()))

    def _rows(self) -> Iterator[ManifestRow]:
        settings = self._settings
        for file in self._source.files(self._root):
            self.summary.files += 1
            _add(self._listing, file)
            planned = plan_file(
                self._root, self._source, file, settings.segment_seconds, settings.split
            )
            if isinstance(planned, Refusal):
                self.refusals.append(planned)
            else:
                yield from planned


def _add(digest: hashlib._Hash, file: SourceFile) -> None:
    digest.update(f"{file.uri}\0{file.size}\0".encode())


def listing_sha256(root: Storage, source: str) -> str:
    """Hash over the names and sizes of all input files; reads no file."""
    digest = hashlib.sha256()
    for file in SOURCES[source]().files(root):
        _add(digest, file)
    return digest.hexdigest()


def write_plan(root: Storage, output: Storage, settings: PlanSettings) -> PlanSummary:
    """Plan `root` into `output`: manifest, units, and the quarantine of unusable files."""
    planner = Planner(root, settings)
    output.fs.makedirs(output.root, exist_ok=True)
    units: list[WorkUnit] = []
    with output.open(MANIFEST_FILE, "wb") as sink, pq.ParquetWriter(sink, MANIFEST) as writer:
        pending: list[ManifestRow] = []
        for rows in planner.units():
            first_row = planner.summary.segments - len(rows)
            seconds = sum(row.seconds for row in rows)
            units.append(WorkUnit(planner.summary.units - 1, first_row, len(rows), seconds))
            pending += rows
            while len(pending) >= _ROW_GROUP:
                _write_rows(writer, pending[:_ROW_GROUP])
                del pending[:_ROW_GROUP]
        _write_rows(writer, pending)
    with output.open(UNITS_FILE, "wb") as sink:
        pq.write_table(pa.Table.from_pylist([asdict(unit) for unit in units], UNITS), sink)
    write_refusals(output, PLAN, planner.refusals)
    return planner.summary


def _write_rows(writer: pq.ParquetWriter, rows: list[ManifestRow]) -> None:
    writer.write_table(pa.Table.from_pylist([asdict(row) for row in rows], MANIFEST))


def read_units(output: Storage) -> list[WorkUnit]:
    """The work units of a plan, in order."""
    with output.open(UNITS_FILE) as source:
        return [WorkUnit(**row) for row in pq.read_table(source).to_pylist()]


def read_rows(output: Storage, unit: WorkUnit) -> pa.Table:
    """The manifest rows of one unit; reads only the row groups that hold them."""
    with output.open(MANIFEST_FILE) as source:
        file = pq.ParquetFile(source)
        last = unit.first_row + unit.num_rows - 1
        first_group = unit.first_row // _ROW_GROUP
        groups = list(range(first_group, last // _ROW_GROUP + 1))
        table = file.read_row_groups(groups)
        return table.slice(unit.first_row - first_group * _ROW_GROUP, unit.num_rows)
