"""The inputs that were refused, and why."""

from __future__ import annotations

import io
import posixpath
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
_ROW_GROUP = 4096


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


class RefusalWriter:
    """Writes refusals to the file `name` as they come, because there may be millions."""

    def __init__(self, output: Storage, name: str) -> None:
        output.fs.makedirs(output.path(posixpath.dirname(name)), exist_ok=True)
        self._sink = output.open(name, "wb")
        self._writer = pq.ParquetWriter(self._sink, QUARANTINE)
        self._pending: list[Refusal] = []

    def close(self) -> None:
        """Write what is left and close the file."""
        self._flush()
        self._writer.close()
        self._sink.close()

    def add(self, refusal: Refusal) -> None:
        """Write one refusal."""
        self._pending.append(refusal)
        if len(self._pending) == _ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            rows = [asdict(refusal) for refusal in self._pending]
            self._writer.write_table(pa.Table.from_pylist(rows, schema=QUARANTINE))
            self._pending.clear()


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
