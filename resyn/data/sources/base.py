"""What every source is, and the walk through folders that several share."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from resyn.audio.faults import AudioFault
from resyn.storage import Storage, content_tag

AUDIO_SUFFIXES = (".flac", ".wav", ".ogg", ".oga", ".mp3")
_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Labels:
    """What a corpus says about a file; empty where it says nothing.

    `voice_activity` is what it states as spans of speech, in whatever form, checked when it is
    used; None where it states none.
    """

    speaker: str = ""
    book: str = ""
    text: str = ""
    split: str = ""
    voice_activity: object = None


NO_LABELS = Labels()


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One input, or a region of one.

    `uri`, relative to the source's `base`, names it: a file, or `archive.tar#member` or
    `table.parquet#row`. Of those two, `container` is the file that holds the bytes and `position`
    the first byte in the archive or the row's number in the table. `size` in bytes and `etag` of
    the content are None and empty where a listing does not say. A region begins at `begin` seconds
    and takes `seconds`, or all that follows. `labels` are what the listing already says. `fault`
    is why the listing refuses it; nothing else of it counts then.
    """

    uri: str
    size: int | None = None
    etag: str = ""
    container: str | None = None
    position: int | None = None
    begin: float = 0.0
    seconds: float | None = None
    labels: Labels = NO_LABELS
    fault: AudioFault | None = None


class Source(Protocol):
    """One input of one kind, made from the place that `--input` names and the allowed root."""

    #: What it looks for, in words for a message.
    looks_for: ClassVar[str]
    base: Storage
    """The folder to which every `uri` is relative."""

    def __init__(self, root: Storage, allowed_root: str = "") -> None: ...

    @classmethod
    def holds(cls, root: Storage) -> bool:
        """True when `root` can be read as this kind."""
        ...

    @classmethod
    def matches(cls, root: Storage) -> bool:
        """True when `root`, which may be of any kind, has the marks of this one."""
        ...

    def check(self) -> None:
        """Raises UserError for an input that must not be worked on at all."""
        ...

    def stored(self) -> Iterator[SourceFile]:
        """What the input consists of, for telling whether it has changed; reads no audio."""
        ...

    def files(self) -> Iterator[SourceFile]:
        """Every audio file in a fixed order."""
        ...

    def describe(self, file: SourceFile) -> SourceFile:
        """`file` with size, etag and labels. Raises AudioFault `json` or `access`."""
        ...


def walk(
    root: Storage, suffixes: tuple[str, ...] = AUDIO_SUFFIXES, folder: str = ""
) -> Iterator[SourceFile]:
    """Files below `folder` by suffix, folder by folder, names in order; dot files are skipped."""
    entries = _local_entries if root.is_local else _stored_entries
    for name, entry in entries(root, folder):
        uri = posixpath.join(folder, name)
        if name.startswith("."):
            continue
        if entry["type"] == "directory":
            yield from walk(root, suffixes, uri)
        elif name.lower().endswith(suffixes):
            yield SourceFile(uri, entry["size"], content_tag(entry))


def first_file(root: Storage, suffixes: tuple[str, ...] = AUDIO_SUFFIXES) -> SourceFile | None:
    """The first file below the folder `root`; None when there is none or no such folder."""
    return next(walk(root, suffixes), None) if root.fs.isdir(root.root) else None


def _stored_entries(root: Storage, folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Object stores list a folder's own marker among its files."""
    entries = root.fs.ls(root.path(folder), detail=True)
    real = (entry for entry in entries if not str(entry["name"]).endswith("/"))
    yield from sorted((posixpath.basename(str(entry["name"])), entry) for entry in real)


def _local_entries(root: Storage, folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names sorted as one Arrow column, not a list of objects; each is looked at in its turn."""
    path = root.path(folder)
    with os.scandir(os.fsencode(path)) as listed:
        names = (entry.name for entry in listed)
        chunks = iter(
            lambda: pa.array(list(islice(names, _CHUNK)), pa.binary()), pa.array([], pa.binary())
        )
        column = pa.chunked_array(chunks, pa.binary())
    order = pc.call_function("sort_indices", [column])
    for first in range(0, len(order), _CHUNK):
        for name in column.take(order.slice(first, _CHUNK)).to_pylist():
            decoded = os.fsdecode(name)
            try:
                entry = root.fs.info(posixpath.join(path, decoded))
            except FileNotFoundError:  # a link to nowhere: to be refused when it is opened
                entry = {"type": "other", "size": None}
            if entry["type"] != "directory" or not entry["islink"]:  # it may lead round in a circle
                yield decoded, entry


def stem(uri: str) -> str:
    """A path without its suffix."""
    return posixpath.splitext(uri)[0]


def parent(root: Storage) -> Storage:
    """The folder that holds the file `root`."""
    return Storage(root.fs, posixpath.dirname(root.root) or "/")


def name_of(root: Storage) -> str:
    """The last part of a path."""
    return posixpath.basename(root.root)
