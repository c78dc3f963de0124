"""The inputs that were refused, and why."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from resyn.data.schema import QUARANTINE
from resyn.storage import Storage

FOLDER = "quarantine"
#: Files refused while planning, before they have segments.
PLAN = f"{FOLDER}/plan.parquet"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One input refused: `code` is a FaultCode, `detail` one line for a reader."""

    source_uri: str
    utt_id: str
    code: str
    detail: str


def unit_file(unit: int) -> str:
    """Where the refusals of a work unit lie; there is no file when there are none."""
    return f"{FOLDER}/{unit:06d}.parquet"


def write_refusals(output: Storage, name: str, refusals: Sequence[Refusal]) -> None:
    """Write the file `name`."""
    buffer = io.BytesIO()
    rows = [asdict(refusal) for refusal in refusals]
    pq.write_table(pa.Table.from_pylist(rows, schema=QUARANTINE), buffer)
    output.write_bytes(name, buffer.getvalue())


def read_refusals(output: Storage, name: str) -> list[Refusal]:
    """The rows of the file `name`. Raises FileNotFoundError."""
    table = pq.read_table(io.BytesIO(output.read_bytes(name)))
    return [Refusal(**row) for row in table.to_pylist()]


def count_codes(refusals: Sequence[Refusal]) -> dict[str, int]:
    """Refusals by code, in alphabetical order."""
    return dict(sorted(Counter(refusal.code for refusal in refusals).items()))
