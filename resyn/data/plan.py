"""Planning: an input folder to a manifest, its work units and the files refused at once.

Files are listed, probed and written as a stream.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from resyn.data.in_order import map_in_order
from resyn.data.manifest import ManifestRow, plan_file
from resyn.data.quarantine import PLAN, Refusal, RefusalWriter
from resyn.data.schema import MANIFEST, UNITS
from resyn.data.sources import Source, SourceFile, SourceReader, open_source
from resyn.data.sources.repeats import Repeats
from resyn.data.units import WorkUnit, group_units
from resyn.errors import RunError, UserError
from resyn.storage import Storage

MANIFEST_FILE = "manifest.parquet"
UNITS_FILE = "units.parquet"
_ROW_GROUP = 4096


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What shapes a plan.

    The kind of source; lengths; a split's name or an empty one; whether only speech is kept; and
    how far the paths of a manifest may lead, which decides what they are called.
    """

    source: str
    segment_seconds: float
    unit_minutes: float
    split: str = ""
    cut_by_vad: bool = False
    allowed_root: str = ""


@dataclass(slots=True)
class PlanSummary:
    """What was planned. `refused` counts files by code; `seconds` is audio in segments.

    `lost` says of each damaged archive or table from where on it is not in the plan.
    """

    files: int = 0
    segments: int = 0
    units: int = 0
    seconds: float = 0.0
    refused: dict[str, int] = field(default_factory=dict)
    listing_sha256: str = ""
    lost: dict[str, str] = field(default_factory=dict)


class Planner:
    """One pass over an input; nothing of it is kept but counts.

    `refuse` is called with every file that cannot be used, `tell` after every file.
    """

    def __init__(
        self,
        source: Source,
        settings: PlanSettings,
        refuse: Callable[[Refusal], None],
        tell: Callable[[PlanSummary], None] = lambda summary: None,
    ) -> None:
        self._source = source
        self._settings = settings
        self._refuse = refuse
        self._tell = tell
        self._denied = ""
        self.summary = PlanSummary()

    def units(self) -> Iterator[list[ManifestRow]]:
        """The work units in order; `summary` is complete afterwards.

        Raises UserError for an input without audio, and for one utt_id given twice; RunError when
        no file at all can be read.
        """
        refused: Counter[str] = Counter()
        repeats = Repeats()
        for unit in group_units(self._rows(refused), self._settings.unit_minutes * 60):
            self.summary.units += 1
            self.summary.segments += len(unit)
            self.summary.seconds += sum(row.seconds for row in unit)
            for row in unit:
                repeats.add(row.utt_id)
            yield unit
        self.summary.refused = dict(sorted(refused.items()))
        if not self.summary.files:
            raise UserError("--input: holds no audio at all; name one that does")
        if refused["access"] == self.summary.files:
            raise RunError(
                f"{self._source.base.uri}: none of the {self.summary.files} inputs can be read "
                f"(first: {self._denied}); check that they are there and the rights to read them"
            )
        if suspects := repeats.suspects():
            self._refuse_repeat(suspects)

    def _rows(self, refused: Counter[str]) -> Iterator[ManifestRow]:
        settings = self._settings
        at_once = self._source.base.at_once if self._source.in_any_order else 1
        with closing(SourceReader(self._source.base)) as reader:

            def look(file: SourceFile) -> tuple[SourceFile, list[ManifestRow] | Refusal]:
                lengths = settings.segment_seconds, settings.split, settings.cut_by_vad
                return file, plan_file(self._source, reader, file, *lengths)

            for file, planned in map_in_order(look, self._source.files(), at_once):
                self.summary.files += 1
                if isinstance(planned, Refusal):
                    refused[planned.code] += 1
                    self._count_refusal(file, planned)
                else:
                    yield from planned
                self._tell(self.summary)

    def _count_refusal(self, file: SourceFile, refusal: Refusal) -> None:
        if file.lost:
            self.summary.lost[refusal.source_uri] = f"{refusal.code}: {refusal.detail}"
        if refusal.code == "access":
            self._denied = self._denied or f"{refusal.source_uri}: {refusal.detail}"
        self._refuse(refusal)

    def _refuse_repeat(self, suspects: set[int]) -> None:
        """Plan again, to find which two segments they were."""
        seen: dict[str, ManifestRow] = {}
        again = Planner(self._source, self._settings, lambda refusal: None)
        for row in again._rows(Counter()):
            if hash(row.utt_id) not in suspects:
                continue
            if first := seen.get(row.utt_id):
                raise UserError(
                    f"--input: {_place(first)} and {_place(row)} would both be {row.utt_id}; "
                    "leave one of them out"
                )
            seen[row.utt_id] = row


def _place(row: ManifestRow) -> str:
    start = row.start / row.sample_rate
    return f"{row.source_uri} from {start:.3f} s to {start + row.seconds:.3f} s"


def listing_sha256(source: Source) -> str:
    """Hash over the names, sizes and regions of what the input consists of; reads no audio."""
    digest = hashlib.sha256()
    for file in source.stored():
        line = f"{file.uri}\0{file.size}\0{file.begin}\0{file.seconds}\0"
        digest.update(line.encode(errors="surrogatepass"))
    return digest.hexdigest()


def write_plan(
    root: Storage,
    output: Storage,
    settings: PlanSettings,
    tell: Callable[[PlanSummary], None] = lambda summary: None,
) -> PlanSummary:
    """Plan `root` into `output`: manifest, units, and the quarantine of unusable files.

    `tell` is called after every file with what is planned by then.

    Raises UserError for an input that is refused as a whole, before or after it was read.
    """
    source = open_source(root, settings.source, settings.allowed_root)
    source.check()
    output.fs.makedirs(output.root, exist_ok=True)
    units: list[WorkUnit] = []
    with (
        closing(RefusalWriter(output, PLAN)) as refusals,
        output.open(MANIFEST_FILE, "wb") as sink,
        pq.ParquetWriter(sink, MANIFEST) as writer,
    ):
        planner = Planner(source, settings, refusals.add, tell)
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
    planner.summary.listing_sha256 = listing_sha256(source)
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


def planned_ids(output: Storage, units: list[WorkUnit]) -> Iterator[tuple[WorkUnit, list[str]]]:
    """The utt_ids of every unit, in order; reads the manifest once, as a stream."""
    held: list[str] = []
    with output.open(MANIFEST_FILE) as source:
        batches = pq.ParquetFile(source).iter_batches(_ROW_GROUP, columns=["utt_id"])
        for unit in units:
            while len(held) < unit.num_rows and (batch := next(batches, None)):
                held += batch.column(0).to_pylist()
            yield unit, held[: unit.num_rows]
            del held[: unit.num_rows]
