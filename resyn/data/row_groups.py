"""Range reads of Parquet row groups, the latest of them kept."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

import pyarrow as pa
import pyarrow.parquet as pq

from resyn.storage import Storage

_Key = tuple[int, int, str]


class RowGroupCache:
    """Cells of many Parquet files by (file, row, column).

    One column of one row group is read at a time and its checksum verified; `most_bytes` of the
    latest used stay in memory.
    """

    def __init__(self, storage: Storage, names: Sequence[str], most_bytes: int) -> None:
        self._storage = storage
        self._names = names
        self._most_bytes = most_bytes
        self._held_bytes = 0
        self._columns: OrderedDict[_Key, pa.ChunkedArray] = OrderedDict()
        self._footers: dict[int, pq.FileMetaData] = {}
        self._firsts: dict[int, list[int]] = {}
        self._lock = threading.Lock()

    def schema(self, file: int) -> pa.Schema:
        """The Arrow schema of a file, with its metadata."""
        return self._footer(file).schema.to_arrow_schema()

    def read_columns(self, file: int, columns: list[str]) -> pa.Table:
        """Whole columns of a file, not kept."""
        with self._open(file) as parquet:
            return parquet.read(columns, use_threads=False)

    def cell(self, file: int, row: int, column: str) -> pa.Buffer:
        """The bytes of one binary cell, without a copy."""
        if file not in self._firsts:
            footer = self._footer(file)
            sizes = (footer.row_group(group).num_rows for group in range(footer.num_row_groups))
            self._firsts[file] = [0, *accumulate(sizes)]
        firsts = self._firsts[file]
        group = bisect_right(firsts, row) - 1
        return self._column((file, group, column))[row - firsts[group]].as_buffer()

    def _column(self, key: _Key) -> pa.ChunkedArray:
        with self._lock:
            held = self._columns.get(key)
            if held is not None:
                self._columns.move_to_end(key)
                return held
        file, group, column = key
        with self._open(file) as parquet:
            read = parquet.read_row_group(group, [column], use_threads=False)[column]
        with self._lock:
            if key not in self._columns:
                self._columns[key] = read
                self._held_bytes += read.nbytes
            while self._held_bytes > self._most_bytes and len(self._columns) > 1:
                self._held_bytes -= self._columns.popitem(last=False)[1].nbytes
        return read

    def _footer(self, file: int) -> pq.FileMetaData:
        if file not in self._footers:
            with self._open(file) as parquet:
                self._footers[file] = parquet.metadata
        return self._footers[file]

    @contextmanager
    def _open(self, file: int) -> Iterator[pq.ParquetFile]:
        with self._storage.open(self._names[file]) as source:
            yield pq.ParquetFile(
                source, metadata=self._footers.get(file), page_checksum_verification=True
            )
