"""Files that list audio lying elsewhere: NeMo's JSON lines and fairseq's table."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import math
import posixpath
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import IO, Any, ClassVar, cast

from resyn.data.fetch import refusals
from resyn.data.sources.base import NO_LABELS, Labels, SourceFile, name_of, parent
from resyn.data.sources.labels import labels_of
from resyn.data.sources.paths import Boundary
from resyn.data.sources.repeats import Repeats
from resyn.errors import UserError
from resyn.storage import Storage, content_tag

#: Lines above this length (bytes) are no line of a manifest.
LONGEST_LINE = 16 * 2**20
#: What reading the fields of a line raises when they are not as they should be.
MALFORMED = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError)
JSON_LINES = (".jsonl", ".json", ".jsonl.gz", ".json.gz")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line read: `path` as written; the region as in `SourceFile`."""

    path: str
    begin: float = 0.0
    seconds: float | None = None
    labels: Labels = NO_LABELS


class ManifestSource:
    """Base of all manifests: `entry` reads one line, the rest is the same for each of them.

    Paths are relative to the manifest's folder. None may lead out of `allowed_root`, which is
    that folder unless given, and to which every `uri` is relative.
    """

    looks_for: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    in_any_order: ClassVar[bool] = True

    def __init__(self, root: Storage, allowed_root: str = "") -> None:
        self._manifest = root
        self._boundary = Boundary(parent(root), allowed_root)
        self.base: Storage = self._boundary.allowed

    @classmethod
    def entry(cls, line: str) -> Entry | None:
        """The entry of a line; None for a line without one. Raises ValueError."""
        raise NotImplementedError

    @classmethod
    def holds(cls, root: Storage) -> bool:
        """True for a file."""
        return bool(root.fs.isfile(root.root))

    @classmethod
    def matches(cls, root: Storage) -> bool:
        """True for a file of the right suffix whose first line reads as an entry."""
        if not name_of(root).lower().endswith(cls.suffixes) or not cls.holds(root):
            return False
        try:
            _, first = next(read_lines(root), (0, ""))
            return cls.entry(first) is not None
        except (*MALFORMED, UserError):
            return False

    def check(self) -> None:
        """Reads the whole manifest, one line at a time.

        Raises UserError for a line that is malformed, leaves the allowed root or repeats another.
        """
        repeats = Repeats()
        for file in self.files():
            repeats.add((file.uri, file.begin))
        if suspects := repeats.suspects():
            self._refuse_repeat(suspects)

    def _refuse_repeat(self, suspects: set[int]) -> None:
        lines: dict[tuple[str, float], int] = {}
        for number, file in self._numbered():
            key = file.uri, file.begin
            if hash(key) not in suspects:
                continue
            if key in lines:
                raise UserError(
                    f"{self._manifest.uri}: lines {lines[key]} and {number} both list {file.uri} "
                    f"from {file.begin:g} s and would get the same utt_id; keep one of them"
                )
            lines[key] = number

    def stored(self) -> Iterator[SourceFile]:
        """The entries, for the manifest's own size would not tell of a changed line."""
        return self.files()

    def files(self) -> Iterator[SourceFile]:
        """An entry for every line. Raises UserError that names a line and its path."""
        return (file for _, file in self._numbered())

    def _numbered(self) -> Iterator[tuple[int, SourceFile]]:
        for number, line in self._lines():
            try:
                entry = self.entry(line)
            except MALFORMED as error:
                raise UserError(
                    f"{self._manifest.uri}:{number}: not {self.looks_for} ({_cause(error)})"
                ) from error
            if entry is not None:
                yield number, self._file(number, entry)

    def _lines(self) -> Iterator[tuple[int, str]]:
        """The lines that are entries, numbered from 1."""
        return read_lines(self._manifest)

    def _file(self, number: int, entry: Entry) -> SourceFile:
        written = self._written(entry.path)
        try:
            uri = self._boundary.resolve(written)
        except ValueError as error:
            raise UserError(
                f"{self._manifest.uri}:{number}: {written!r} {error}; to allow another folder "
                "name it with --set allowed_root="
            ) from error
        return SourceFile(uri, begin=entry.begin, seconds=entry.seconds, labels=entry.labels)

    def _written(self, path: str) -> str:
        """A path as it is to be resolved against the manifest's folder."""
        return path

    def describe(self, file: SourceFile) -> SourceFile:
        """With the size and etag of the file."""
        with refusals(self.base):
            entry = self.base.fs.info(self.base.path(file.uri))
        return replace(file, size=int(entry["size"]), etag=content_tag(entry))


class NemoSource(ManifestSource):
    """`{"audio_filepath": …, "duration": s, "text": …, "offset": s}`, one JSON object a line."""

    looks_for: ClassVar[str] = "a NeMo manifest's line"
    suffixes: ClassVar[tuple[str, ...]] = JSON_LINES

    @classmethod
    def entry(cls, line: str) -> Entry:
        """`duration` and `offset` may be missing: the whole file then."""
        fields = json.loads(line)
        begin, seconds = fields.get("offset"), fields.get("duration")
        return Entry(
            text_of(fields["audio_filepath"]),
            0.0 if begin is None else time_of(begin),
            None if seconds is None else time_of(seconds),
            labels_of(fields),
        )


class FairseqSource(ManifestSource):
    """A folder's line, then `path TAB number of samples` for each file.

    The number is not believed: the file's own header says how long it is.
    """

    looks_for: ClassVar[str] = "a fairseq table's line"
    suffixes: ClassVar[tuple[str, ...]] = (".tsv",)

    @classmethod
    def matches(cls, root: Storage) -> bool:
        """True for a `.tsv` whose second line is a path and a number."""
        if not name_of(root).lower().endswith(cls.suffixes) or not cls.holds(root):
            return False
        lines = read_lines(root)
        try:
            next(lines, None)
            return cls.entry(next(lines, (0, ""))[1]) is not None
        except (*MALFORMED, UserError):
            return False

    @classmethod
    def entry(cls, line: str) -> Entry:
        """One file."""
        path, samples = line.split("\t")
        int(samples)
        return Entry(path)

    def _lines(self) -> Iterator[tuple[int, str]]:
        lines = super()._lines()
        number, self._folder = next(lines, (1, ""))
        if number > 1:  # the folder's line is blank
            lines, self._folder = itertools.chain([(number, self._folder)], lines), ""
        yield from lines

    def _written(self, path: str) -> str:
        return posixpath.join(self._folder, path)


def read_lines(manifest: Storage) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of every line that is not blank; unpacks gzip.

    Raises UserError for a file that is no text.
    """
    with ExitStack() as stack:
        source = stack.enter_context(manifest.open(""))
        if name_of(manifest).lower().endswith(".gz"):
            source = cast("IO[bytes]", stack.enter_context(gzip.open(source)))
        else:  # An object store's files know no longest line.
            source = cast("IO[bytes]", io.BufferedReader(cast(Any, source)))
        number = 0
        try:
            while line := source.readline(LONGEST_LINE):
                number += 1
                if len(line) == LONGEST_LINE:
                    raise ValueError(f"longer than {LONGEST_LINE} bytes")
                if text := line.decode().rstrip("\r\n"):
                    yield number, text
        except (ValueError, EOFError, gzip.BadGzipFile, OSError) as error:
            raise UserError(f"{manifest.uri}:{number}: cannot be read ({error})") from error


def text_of(value: Any) -> str:
    """Raises ValueError for what is no text."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no path")
    return value


def time_of(value: Any) -> float:
    """A time in seconds. Raises ValueError for what is none."""
    seconds = float(value)
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{value!r} is no time in seconds")
    return seconds


def _cause(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)
