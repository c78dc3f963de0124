"""Opening the bytes that a source file or a manifest row names."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import IO, Any, cast

from resyn.audio.faults import AudioFault
from resyn.data.fetch import InputFile
from resyn.data.sources.base import SourceFile
from resyn.data.sources.tables import TABLE_SUFFIX, AudioTable
from resyn.storage import BLOCK_BYTES, Storage


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

    Holds one table open between calls, so that rows in rising order are read once. Close it
    when done; not safe to use from several threads.
    """

    def __init__(self, base: Storage) -> None:
        self._base = base
        self._table: AudioTable | None = None
        self._opened = "", ""

    def open(self, file: SourceFile, block_bytes: int = BLOCK_BYTES) -> IO[bytes]:
        """A seekable handle on exactly the bytes of `file`, to be closed by the caller.

        Raises AudioFault `access` and `changed`, and for what an archive or a table does not hold;
        RunError when nothing of the input can be read.
        """
        if file.container is None:
            return cast("IO[bytes]", InputFile(self._base, file.uri, file.etag, block_bytes))
        assert file.position is not None
        if file.container.lower().endswith(TABLE_SUFFIX):
            return io.BytesIO(self._row(file.container, file.etag, file.position))
        where = (block_bytes, file.position, file.size)
        return cast("IO[bytes]", InputFile(self._base, file.container, file.etag, *where))

    def _row(self, name: str, tag: str, row: int) -> bytes:
        if self._table is None or self._opened != (name, tag):
            self.close()
            self._table, self._opened = AudioTable(self._base, name, tag), (name, tag)
        try:
            return self._table.read(row)
        except AudioFault as fault:
            if fault.code == "changed":  # Opened again, it is what is there by then.
                self.close()
            raise

    def close(self) -> None:
        """Close the table."""
        if self._table is not None:
            self._table.close()
            self._table = None
