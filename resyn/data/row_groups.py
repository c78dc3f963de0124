"""Range reads of Parquet row groups, the latest of them kept."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from itertools import accumulate
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

_Key = tuple[int, int, str]


class RowGroupCache:
    """Cells of many Parquet files by (file, row, column).

    `open_file` opens a file by its number. One column of one row group is read at a time, by one
    thread however many ask for it, and its checksum verified; `most_bytes` of the latest used stay
    in memory.
    """

    def __init__(self, open_file: Callable[[int], IO[bytes]], most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._open_file = open_file
        self._held_bytes = 0
        self._columns: OrderedDict[_Key, pa.ChunkedArray] = OrderedDict()
        self._reading: dict[_Key, threading.Lock] = {}
        self._footers: dict[int, pq.FileMetaData] = {}
        self._firsts: dict[int, list[int]] = {}
        self._lock = threading.Lock()

    def read_head(
        self, file: int, columns: list[str], source: IO[bytes]
    ) -> tuple[pa.Schema, pa.Table]:
        """The Arrow schema of a file, with its metadata, and whole columns that are not kept.

        Read from `source`, which is that file however it was opened.
        """
        with pq.ParquetFile(source, page_checksum_verification=True) as parquet:
            self._footers[file] = parquet.metadata
            return parquet.schema_arrow, parquet.read(columns, use_threads=False)

    def cell(self, file: int, row: int, column: str) -> pa.Buffer:
        """The bytes of one binary cell, without a copy."""
        if file not in self._firsts:
            footer = self._footers[file]
            sizes = (footer.row_group(group).num_rows for group in range(footer.num_row_groups))
            self._firsts[file] = [0, *accumulate(sizes)]
        firsts = self._firsts[file]
        group = bisect_right(firsts, row) - 1
        return self._column((file, group, column))[row - firsts[group]].as_buffer()

    def _column(self, key: _Key) -> pa.ChunkedArray:
        with self._lock:
            held = self._held(key)
            reading = self._reading.setdefault(key, threading.Lock())
        if held is not None:
            return held
        with reading:
            with self._lock:
                held = self._held(key)
            if held is not None:
                return held
            read = self._read(key)
            with self._lock:
                self._hold(key, read)
        return read

    def _held(self, key: _Key) -> pa.ChunkedArray | None:
        held = self._columns.get(key)
        if held is not None:
            self._columns.move_to_end(key)
        return held

    def _hold(self, key: _Key, read: pa.ChunkedArray) -> None:
        self._columns[key] = read
        self._held_bytes += read.nbytes
        while self._held_bytes > self.most_bytes and len(self._columns) > 1:
            old, dropped = self._columns.popitem(last=False)
            self._held_bytes -= dropped.nbytes
            self._reading.pop(old, None)

    def _read(self, key: _Key) -> pa.ChunkedArray:
        file, group, column = key
        with (
            self._open_file(file) as source,
            pq.ParquetFile(
                source, metadata=self._footers[file], page_checksum_verification=True
            ) as parquet,
        ):
            return parquet.read_row_group(group, [column], use_threads=False)[column]
