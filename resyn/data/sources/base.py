"""What every source is, and the walk through folders that several share."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

from resyn.audio.faults import AudioFault
from resyn.storage import Storage, content_tag
from resyn.storage_listing import files_below

AUDIO_SUFFIXES = (".flac", ".wav", ".ogg", ".oga", ".mp3")


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
    and takes `seconds`, or all that follows. `description` is (first byte, size) of what describes
    the file in its container. `labels` are what the listing already says. `fault`
    is why the listing refuses it; nothing else of it counts then but `lost`: a whole container, or
    all that follows in it, for then nobody knows how many files that are.
    """

    uri: str
    size: int | None = None
    etag: str = ""
    container: str | None = None
    position: int | None = None
    begin: float = 0.0
    seconds: float | None = None
    labels: Labels = NO_LABELS
    description: tuple[int, int] | None = None
    fault: AudioFault | None = None
    lost: bool = False


class Source(Protocol):
    """One input of one kind, made from the place that `--input` names and the allowed root."""

    #: What it looks for, in words for a message.
    looks_for: ClassVar[str]
    #: True when files are described and read as fast in any order, and from several threads.
    in_any_order: ClassVar[bool]
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
    """Files below `folder` by suffix, in the order of their paths; dot files are skipped."""
    for name, entry in files_below(root.fs, root.path(folder)):
        if name.lower().endswith(suffixes):
            uri = posixpath.join(folder, name)
            yield SourceFile(uri, entry["size"], content_tag(entry))


def first_file(root: Storage, suffixes: tuple[str, ...] = AUDIO_SUFFIXES) -> SourceFile | None:
    """The first file below the folder `root`; None when there is none or no such folder."""
    return next(walk(root, suffixes), None) if root.fs.isdir(root.root) else None


def stem(uri: str) -> str:
    """A path without its suffix."""
    return posixpath.splitext(uri)[0]


def parent(root: Storage) -> Storage:
    """The folder that holds the file `root`."""
    return Storage(root.fs, posixpath.dirname(root.root) or "/")


def name_of(root: Storage) -> str:
    """The last part of a path."""
    return posixpath.basename(root.root)
