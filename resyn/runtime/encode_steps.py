"""The steps of an encode that need no codec: decode and commit, and the row between the steps.

Here and nowhere else, so that Ray's workers for them import no torch, which costs seconds each.
"""

from __future__ import annotations

import json
import struct
import time
from dataclasses import asdict, dataclass
from typing import Any, TypedDict

import pyarrow as pa

from resyn.data.commit import commit_unit
from resyn.data.decode import decode_unit
from resyn.data.job import Job
from resyn.data.plan import read_rows
from resyn.data.units import WorkUnit
from resyn.storage_faults import explained


class Notes(TypedDict):
    """What a unit's row carries beside its table."""

    busy: dict[str, float]
    """Seconds by step."""
    warnings: list[str]
    """What is to be told to the user."""


@dataclass(frozen=True, slots=True)
class Decode:
    """A work unit to its decoded table."""

    job: Job

    def __call__(self, batch: pa.Table) -> pa.Table:
        started = time.perf_counter()
        unit = WorkUnit(**batch.to_pylist()[0])
        recipe = self.job.recipe
        with_audio = "audio" in recipe.columns
        rate = recipe.codec.sample_rate
        with explained(f"unit {unit.unit} of {self.job.output.uri}"):
            rows = read_rows(self.job.output, unit)
            table = decode_unit(self.job.input, rows, rate, with_audio)
        notes: Notes = {"busy": {}, "warnings": []}
        return to_row(unit.unit, table, notes, decode=time.perf_counter() - started)


@dataclass(frozen=True, slots=True)
class Commit:
    """An encoded table to its shard, and a record that names `arithmetic`."""

    job: Job
    arithmetic: dict[str, Any]

    def __call__(self, batch: pa.Table) -> pa.Table:
        started = time.perf_counter()
        unit, table, notes = from_row(batch)
        output, recipe = self.job.output, self.job.recipe
        made = (recipe.codec, recipe.columns, recipe.precision, self.arithmetic)
        record = commit_unit(output, unit, table, *made)
        notes["busy"]["commit"] = time.perf_counter() - started
        return pa.table({"record": [json.dumps(asdict(record))], "notes": [json.dumps(notes)]})


def to_row(unit: int, table: pa.Table, notes: Notes, **busy: float) -> pa.Table:
    """A unit's table as the one row in which it travels; its bytes are not copied.

    `busy` is added to the seconds by step that `notes` hold.
    """
    notes["busy"] |= busy
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue()
    offsets = pa.py_buffer(struct.pack("<qq", 0, data.size))
    cell = pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, data])
    columns = {"unit": pa.array([unit], pa.int32()), "table": cell, "notes": [json.dumps(notes)]}
    return pa.table(columns)


def from_row(batch: pa.Table) -> tuple[int, pa.Table, Notes]:
    """Inverse of `to_row`."""
    cell = batch["table"][0].as_buffer()
    notes = json.loads(batch["notes"][0].as_py())
    return batch["unit"][0].as_py(), pa.ipc.open_stream(cell).read_all(), notes
