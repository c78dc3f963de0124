"""Tar archives: WebDataset's shards, and LibriLight as it is published.

Members are read where they lie in the archive. Nothing is unpacked, and nothing but audio and
JSON is looked into.
"""

from __future__ import annotations

import itertools
import posixpath
import tarfile
from array import array
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, cast

import numpy as np
import pyarrow as pa

from resyn.audio.faults import AudioFault
from resyn.data.fetch import InputFile
from resyn.data.sources.base import AUDIO_SUFFIXES, SourceFile, stem
from resyn.data.sources.containers import ContainerSource
from resyn.data.sources.labels import labels_of, read_description
from resyn.storage import BLOCK_BYTES, Storage

ARCHIVE_SUFFIX = ".tar"
#: Bytes of a member's name and its further attributes.
LONGEST_NAME = 2**20
#: What is named like code, or like a pickle, which becomes code when it is loaded.
UNSAFE_SUFFIXES = (
    *(".pkl", ".pickle", ".pyd", ".pt", ".pth", ".ckpt", ".joblib", ".dill"),
    *(".py", ".pyc", ".so", ".dll", ".dylib", ".exe", ".sh", ".bat"),
)
_CHUNK = 4096


class WebDatasetSource(ContainerSource):
    """A `.tar` file, or a folder of them: audio members, each perhaps with a `.json` of its stem.

    A member is `archive.tar#name`. Links, devices, names that lead out of the archive, and code
    or pickles are refused one by one as `unsafe`; other members are passed over.
    """

    looks_for: ClassVar[str] = ".tar archive"
    suffix: ClassVar[str] = ARCHIVE_SUFFIX

    def files(self) -> Iterator[SourceFile]:
        """Archive by archive, the members in their order; a damaged end is one refused file."""
        for archive in self.stored():
            yield from _Index(archive, self.base).files()

    def describe(self, file: SourceFile) -> SourceFile:
        """Labels from the member's `.json`, wherever in the archive it lies."""
        assert file.container is not None
        if file.description is None:
            return file
        first, size = file.description
        name = f"{stem(file.uri)}.json"
        block = min(size, BLOCK_BYTES)
        with InputFile(self.base, file.container, file.etag, block, first, size) as stored:
            described = read_description(name, stored)
        labels = labels_of(described)
        # LibriLight's archives keep its tree: split, speaker, book, file.
        folders = [stem(file.container), *_member(file).split("/")[:-1]]
        if "book_meta" in described and len(folders) >= 3:
            labels = replace(labels, split=posixpath.basename(folders[-3]))
        return replace(file, labels=labels)


class _JsonMembers:
    """Where the JSON members of an archive lie: 24 bytes each, because there may be a million."""

    def __init__(self) -> None:
        self._rows = array("q")
        self._sorted: np.ndarray | None = None

    def add(self, uri: str, first: int, size: int) -> None:
        """Count the member `uri` in."""
        self._rows.extend((hash(stem(uri)), first, size))

    def find(self, file: SourceFile) -> tuple[int, int] | None:
        """(first byte, size) of the member with the stem of `file`; the last one counts."""
        if self._sorted is None:
            rows = np.array(self._rows, np.int64).reshape(-1, 3)
            self._sorted = rows[np.argsort(rows[:, 0], kind="stable")]
        key = hash(stem(file.uri))
        row = int(np.searchsorted(self._sorted[:, 0], key, side="right")) - 1
        if row < 0 or self._sorted[row, 0] != key:
            return None
        return int(self._sorted[row, 1]), int(self._sorted[row, 2])


_COLUMNS = pa.schema(
    {
        "name": pa.string(),
        "first": pa.int64(),
        "size": pa.int64(),
        "code": pa.string(),
        "detail": pa.string(),
    }
)


class _Index:
    """The headers of one archive, held as columns."""

    def __init__(self, archive: SourceFile, base: Storage) -> None:
        self.json = _JsonMembers()
        self.archive = archive
        self._rows: list[tuple[str, int, int, str | None, str]] = []
        self._chunks: list[pa.RecordBatch] = []
        self._read(base)

    def _read(self, base: Storage) -> None:
        """Read every header; what is wrong with the archive itself ends as one more row."""
        reached = 0
        try:
            with (
                InputFile(base, self.archive.uri, self.archive.etag) as stored,
                tarfile.open(fileobj=stored, mode="r:", tarinfo=_Header) as archive,
            ):
                while (member := archive.next()) is not None:
                    cast(Any, archive).members.clear()  # it would keep them all
                    if archive.offset <= reached:
                        raise tarfile.ReadError("a header that leads back")
                    reached = archive.offset
                    self._add(member)
                self._check_end(stored, archive.offset)
        except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
            self._append("", 0, 0, "decode", f"damaged from byte {reached} on: {error}")
        except AudioFault as fault:
            self._append("", 0, 0, fault.code, fault.detail)
        self._flush()

    def _check_end(self, handle: InputFile, offset: int) -> None:
        """tarfile takes a header that it cannot read for the end; the real end is zeros."""
        handle.seek(offset)
        block = handle.read(tarfile.BLOCKSIZE)
        if block != bytes(tarfile.BLOCKSIZE):
            what = "truncated" if len(block) < tarfile.BLOCKSIZE else "decode"
            self._append("", 0, 0, what, f"the archive breaks off at byte {offset}")

    def _add(self, member: tarfile.TarInfo) -> None:
        # The name of a member need not be text; its bytes are found by their position.
        name = posixpath.normpath(member.name).encode(errors="replace").decode()
        lower, hidden = name.lower(), posixpath.basename(name).startswith(".")
        if fault := _refusal(member, name):
            self._append(name, 0, 0, "unsafe", fault)
        elif not member.isreg():
            return
        elif lower.endswith(".json"):
            self.json.add(self._uri(name), member.offset_data, member.size)
        elif lower.endswith(AUDIO_SUFFIXES) and not hidden:
            self._append(name, member.offset_data, member.size, None, "")

    def _append(self, name: str, first: int, size: int, code: str | None, detail: str) -> None:
        self._rows.append((name, first, size, code, detail))
        if len(self._rows) == _CHUNK:
            self._flush()

    def _flush(self) -> None:
        columns = [list(column) for column in zip(*self._rows, strict=True)]
        if columns:
            self._chunks.append(pa.RecordBatch.from_arrays(columns, schema=_COLUMNS))
        self._rows.clear()

    def files(self) -> Iterator[SourceFile]:
        """The audio members and the refused ones, in their order."""
        archive = self.archive
        for row in itertools.chain.from_iterable(chunk.to_pylist() for chunk in self._chunks):
            uri = self._uri(row["name"]) if row["name"] else archive.uri
            if row["code"]:
                fault = AudioFault(row["code"], row["detail"])
                yield SourceFile(uri, fault=fault, lost=not row["name"])
            else:
                file = SourceFile(uri, row["size"], archive.etag, archive.uri, row["first"])
                yield replace(file, description=self.json.find(file))

    def _uri(self, name: str) -> str:
        return f"{self.archive.uri}#{name}"


class _Header(tarfile.TarInfo):
    """A header that may claim neither a negative size nor a long name without end.

    tarfile reads what extends a header into memory, whatever its size.
    """

    _EXTENDING = frozenset(b"LKxgX")

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        extends = self.type[0] in self._EXTENDING
        if self.size < 0 or (extends and self.size > LONGEST_NAME):
            raise tarfile.HeaderError(f"a header that claims {self.size} bytes")
        return cast(Any, super())._proc_member(archive)


def _refusal(member: tarfile.TarInfo, name: str) -> str:
    """Why a member must not be read; empty when it may be."""
    if name.startswith("/") or name.split("/")[0] == "..":
        return "a name that leads out of the archive"
    if member.isdir():
        return ""
    if not member.isreg() or member.issparse():
        return "a link, a device or another member that is no plain file"
    if name.lower().endswith(UNSAFE_SUFFIXES):
        return f"a {posixpath.splitext(name)[1]} member: code and pickles are not read"
    return ""


def _member(file: SourceFile) -> str:
    return file.uri.removeprefix(f"{file.container}#")
