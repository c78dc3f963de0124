"""Opening the bytes that a source file or a manifest row names."""

from __future__ import annotations

import io
from collections.abc import Mapping
from types import TracebackType
from typing import IO, Any, Self, cast

from resyn.data.sources.base import SourceFile
from resyn.data.sources.tables import TABLE_SUFFIX, AudioTable
from resyn.storage import Storage


def file_of_row(row: Mapping[str, Any]) -> SourceFile:
    """The source file that a row of the manifest is a segment of."""
    return SourceFile(
        row["source_uri"],
        row["source_size"],
        row["source_etag"],
        row["container"],
        row["position"],
    )


class SourceReader:
    """Opens files below `base`, and what lies inside archives and tables there, in place.

    Holds one table open between calls, so that rows in rising order are read once. Use it in a
    `with` block; not safe to use from several threads.
    """

    def __init__(self, base: Storage) -> None:
        self._base = base
        self._table: AudioTable | None = None
        self._table_name = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close_table()

    def open(self, file: SourceFile) -> IO[bytes]:
        """A seekable handle on exactly the bytes of `file`, to be closed by the caller.

        Raises FileNotFoundError, PermissionError, and AudioFault for what an archive or a table
        does not hold.
        """
        if file.container is None:
            return self._base.open(file.uri)
        assert file.position is not None
        if file.container.lower().endswith(TABLE_SUFFIX):
            return io.BytesIO(self._rows(file.container).read(file.position))
        assert file.size is not None
        window = _Window(self._base.open(file.container), file.position, file.size)
        return cast("IO[bytes]", io.BufferedReader(window))

    def _rows(self, name: str) -> AudioTable:
        if self._table is None or self._table_name != name:
            self._close_table()
            self._table, self._table_name = AudioTable(self._base, name), name
        return self._table

    def _close_table(self) -> None:
        if self._table is not None:
            self._table.close()
            self._table = None


class _Window(io.RawIOBase):
    """`size` bytes of a seekable handle from `first` on, as a file of their own."""

    def __init__(self, handle: IO[bytes], first: int, size: int) -> None:
        self._handle = handle
        self._first = first
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, origin + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = max(0, min(len(buffer), self._size - self._at))
        self._handle.seek(self._first + self._at)
        data = self._handle.read(wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._handle.close()
        super().close()
