"""Parquet tables with audio bytes, as Hugging Face's `Audio` feature lays them out."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from typing import IO, ClassVar, cast

import pyarrow as pa
import pyarrow.parquet as pq

from resyn.audio.faults import AudioFault
from resyn.data.fetch import InputFile
from resyn.data.sources.base import SourceFile
from resyn.data.sources.containers import ContainerSource
from resyn.data.sources.labels import FIELDS, labels_of
from resyn.storage import Storage

TABLE_SUFFIX = ".parquet"
#: Rows of audio held at once. A column of a whole row group may be gigabytes.
_AUDIO_ROWS = 8
_LABEL_ROWS = 1024
_SAMPLE = 4
#: Hugging Face's names: `train-00000-of-00015.parquet`.
_SPLIT = re.compile(r"(?:.*/)?(?P<split>.+)-\d+-of-\d+\.parquet", re.IGNORECASE)


class ParquetSource(ContainerSource):
    """A `.parquet` file, or a folder of them, with a column of struct {bytes, path}.

    A row is addressed in place as `table.parquet#row`. Its `path` is never followed.
    """

    looks_for: ClassVar[str] = ".parquet file with a column of struct {bytes, path}"
    suffix: ClassVar[str] = TABLE_SUFFIX
    in_any_order: ClassVar[bool] = False  # Rows in their order cost one pass.

    @classmethod
    def holds(cls, root: Storage) -> bool:
        """True when one of the first tables has such a column."""
        source = cls(root)
        return any(source._has_audio(table.uri) for table in islice(source.stored(), _SAMPLE))

    def _has_audio(self, name: str) -> bool:
        try:
            AudioTable(self.base, name).close()
        except AudioFault as fault:
            return fault.code == "unsafe"  # to be refused by name, not overlooked
        return True

    def files(self) -> Iterator[SourceFile]:
        """Every row of every table; a table that cannot be read is one refused file."""
        for stored in self.stored():
            try:
                with closing(AudioTable(self.base, stored.uri, stored.etag)) as table:
                    yield from table.files(stored)
            except AudioFault as fault:
                yield SourceFile(stored.uri, fault=fault, lost=True)

    def describe(self, file: SourceFile) -> SourceFile:
        """The listing says all."""
        return file


class AudioTable:
    """One Parquet file with audio in it, of the content `tag` unless that is empty.

    Raises AudioFault `access`, `changed`, `decode` or `unsafe`, and what `InputFile` raises when it
    is the store that fails.
    """

    def __init__(self, base: Storage, name: str, tag: str = "") -> None:
        self._handle = InputFile(base, name, tag)
        self._name = name
        try:
            with self._reading():
                self._file = _open(cast("IO[bytes]", self._handle))
                self._column = _audio_column(self._file.schema_arrow)
        except Exception:
            self.close()
            raise
        self._rows: Iterator[tuple[int, pa.Array]] = iter(())
        self._first, self._batch = 0, pa.array([], pa.binary())

    @contextmanager
    def _reading(self, where: str = "") -> Iterator[None]:
        """What Arrow cannot read is damage, unless it was the store that gave no bytes."""
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError, StopIteration) as error:
            self._handle.check()
            raise AudioFault("decode", f"{where}{_line(error)}") from error

    def close(self) -> None:
        """Close the file."""
        self._handle.close()

    def files(self, stored: SourceFile) -> Iterator[SourceFile]:
        """Its rows with their labels, read without the audio."""
        wanted = {name for names in FIELDS.values() for name in names}
        columns = [name for name in self._file.schema_arrow.names if name in wanted]
        split = _SPLIT.fullmatch(self._name)
        default = split["split"] if split else ""
        row, batches = 0, self._labels(columns)
        while True:
            with self._reading(f"from row {row} on: "):
                if (rows := next(batches, None)) is None:
                    return
            for fields in rows:
                labels = labels_of(fields)
                yield SourceFile(
                    f"{self._name}#{row}",
                    etag=stored.etag,
                    container=self._name,
                    position=row,
                    labels=replace(labels, split=labels.split or default),
                )
                row += 1

    def _labels(self, columns: list[str]) -> Iterator[list[dict[str, object]]]:
        if not columns:
            yield from ([{}] for _ in range(self._file.metadata.num_rows))
            return
        batches = self._file.iter_batches(_LABEL_ROWS, columns=columns, use_threads=False)
        yield from (batch.to_pylist() for batch in batches)

    def read(self, row: int) -> bytes:
        """The audio bytes of a row; rows in rising order cost one pass over their row group.

        Raises AudioFault `access` for a row that has none, `decode` for a damaged table, `changed`.
        """
        with self._reading(f"row {row}: "):
            while not self._first <= row < self._first + len(self._batch):
                if row < self._first or not (following := next(self._rows, None)):
                    self._rows = self._batches(row)
                    following = next(self._rows)
                self._first, self._batch = following
        data = self._batch[row - self._first].as_py()
        if data is None:
            raise AudioFault("access", f"row {row} has no bytes, only a path")
        return data

    def _batches(self, row: int) -> Iterator[tuple[int, pa.Array]]:
        """(first row, audio of a few rows) from the start of the row group that holds `row`."""
        metadata, first, group = self._file.metadata, 0, 0
        while group < metadata.num_row_groups and row >= first + metadata.row_group(group).num_rows:
            first += metadata.row_group(group).num_rows
            group += 1
        if group == metadata.num_row_groups:
            return
        groups = list(range(group, metadata.num_row_groups))
        columns = [f"{self._column}.bytes"]
        for batch in self._file.iter_batches(_AUDIO_ROWS, groups, columns, use_threads=False):
            yield first, batch.column(0).flatten()[0]
            first += batch.num_rows


def _open(handle: IO[bytes]) -> pq.ParquetFile:
    """Refuses extension types unseen: to build one is to run the code that its name selects."""
    if _names_extension(_footer(handle)):
        raise AudioFault("unsafe", "a Parquet file with an Arrow extension type")
    handle.seek(0)
    return pq.ParquetFile(handle, pre_buffer=False, buffer_size=2**16)


def _footer(handle: IO[bytes]) -> bytes:
    """The raw metadata at the file's end; pyarrow builds the types of what it reads there."""
    size = handle.seek(0, io.SEEK_END)
    handle.seek(max(0, size - 8))
    tail = handle.read(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or length > size - 8:
        raise pa.ArrowInvalid("no Parquet footer at the end of the file")
    handle.seek(size - 8 - length)
    return handle.read(length)


def _names_extension(footer: bytes) -> bool:
    """True when the Arrow schema, which the footer holds in base64, names an extension type.

    Bytes before the schema may look like base64 too, so every alignment is tried.
    """
    for run in re.findall(rb"[A-Za-z0-9+/]{32,}", footer):
        for first in range(4):
            aligned = run[first : first + (len(run) - first) // 4 * 4]
            if b"ARROW:extension:name" in base64.b64decode(aligned):
                return True
    return False


def _audio_column(schema: pa.Schema) -> str:
    """The column of struct {bytes, path}; the one named `audio` if there are several."""
    found = [
        field.name
        for field in schema
        if pa.types.is_struct(field.type)
        and {"bytes", "path"} <= {field.type.field(i).name for i in range(field.type.num_fields)}
    ]
    if len(found) > 1 and "audio" in found:
        return "audio"
    if len(found) != 1:
        raise AudioFault("decode", f"has {len(found)} columns of struct {{bytes, path}}, not one")
    return found[0]


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
