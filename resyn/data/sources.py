"""Where audio comes from: the folder shapes that speech corpora have.

A source lists files one by one, so that a bucket of millions never sits in one list, and
describes each when asked, so that a listing alone costs no reads.
"""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from resyn.audio.faults import AudioFault
from resyn.errors import UserError
from resyn.storage import Storage, content_tag

AUDIO_SUFFIXES = (".flac", ".wav", ".ogg", ".oga", ".mp3")
#: Audio files looked at to tell one folder shape from another.
_SAMPLE = 16


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One input: `uri` relative to the input's root, `size` in bytes, `etag` of its content."""

    uri: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Labels:
    """What a corpus says about a file; empty where it says nothing."""

    speaker: str = ""
    book: str = ""
    text: str = ""
    split: str = ""


class Source(Protocol):
    """One kind of input."""

    def files(self, root: Storage) -> Iterator[SourceFile]:
        """Every audio file in a fixed order."""
        ...

    def matches(self, root: Storage) -> bool:
        """True when the input has this shape."""
        ...

    def labels(self, root: Storage, file: SourceFile) -> Labels:
        """What the corpus says about `file`. Raises AudioFault `json`."""
        ...


def walk(root: Storage, folder: str = "") -> Iterator[SourceFile]:
    """Audio files below `folder`, folder by folder, names in order; dot files are skipped."""
    entries = root.fs.ls(root.path(folder), detail=True)
    named = sorted((posixpath.basename(str(e["name"]).rstrip("/")), e) for e in _real(entries))
    for name, entry in named:
        uri = posixpath.join(folder, name)
        if name.startswith("."):
            continue
        if entry["type"] == "directory":
            yield from walk(root, uri)
        elif name.lower().endswith(AUDIO_SUFFIXES):
            yield SourceFile(uri, int(entry["size"]), content_tag(entry))


def _real(entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Object stores list a folder's own marker among its files."""
    return (entry for entry in entries if not str(entry["name"]).endswith("/"))


class FolderSource:
    """Any folder of audio files; the base of the corpora that add labels."""

    def files(self, root: Storage) -> Iterator[SourceFile]:
        """Every audio file, folder by folder in name order."""
        return walk(root)

    def matches(self, root: Storage) -> bool:
        """Any folder will do."""
        return True

    def labels(self, root: Storage, file: SourceFile) -> Labels:
        """A plain folder says nothing."""
        return Labels()


class LibriLightSource(FolderSource):
    """`<split>/<speaker>/<book>/<file>.flac` with a `.json` of the same stem beside it."""

    def matches(self, root: Storage) -> bool:
        """True when one of the first files has its `.json`."""
        sample = itertools.islice(walk(root), _SAMPLE)
        return any(root.exists(_stem(file.uri) + ".json") for file in sample)

    def labels(self, root: Storage, file: SourceFile) -> Labels:
        """Speaker and book from the `.json`; from the path when there is none."""
        split, speaker, book = _parents(root, file)
        try:
            described = root.read_json(_stem(file.uri) + ".json")
            book_meta = described.get("book_meta") or {}
        except FileNotFoundError:
            return Labels(speaker, book, split=split)
        except (ValueError, AttributeError) as error:
            raise AudioFault("json", f"{_stem(file.uri)}.json: {error}") from error
        speaker = str(described.get("speaker") or speaker)
        return Labels(speaker, str(book_meta.get("id") or book), split=split)


class LibriSpeechSource(FolderSource):
    """`<subset>/<speaker>/<chapter>/<utterance>.flac` with one `.trans.txt` per chapter."""

    def __init__(self) -> None:
        self._folder: str | None = None
        self._texts: dict[str, str] = {}

    def matches(self, root: Storage) -> bool:
        """True when one of the first files lies beside a `.trans.txt`."""
        sample = itertools.islice(walk(root), _SAMPLE)
        return any(root.names(posixpath.dirname(file.uri), ".trans.txt") for file in sample)

    def labels(self, root: Storage, file: SourceFile) -> Labels:
        """Speaker and chapter from the path, text from the chapter's transcript."""
        folder, name = posixpath.split(file.uri)
        if folder != self._folder:
            self._folder, self._texts = folder, _transcripts(root, folder)
        split, speaker, chapter = _parents(root, file)
        return Labels(speaker, chapter, self._texts.get(_stem(name), ""), split)


def _stem(uri: str) -> str:
    return posixpath.splitext(uri)[0]


def _parents(root: Storage, file: SourceFile) -> tuple[str, str, str]:
    """The three folders above a file, the root's own name included, outermost first."""
    parts = [posixpath.basename(root.root), *file.uri.split("/")[:-1]]
    above = ["", "", "", *parts][-3:]
    return above[0], above[1], above[2]


def _transcripts(root: Storage, folder: str) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name in root.names(folder, ".trans.txt"):
        content = root.read_bytes(posixpath.join(folder, name)).decode(errors="replace")
        pairs = (line.strip().partition(" ") for line in content.splitlines())
        texts |= {utterance: text for utterance, _, text in pairs if utterance}
    return texts


#: By name, in the order in which `auto` tries them.
SOURCES: dict[str, type[Source]] = {
    "librispeech": LibriSpeechSource,
    "librilight": LibriLightSource,
    "folder": FolderSource,
}


def detect_source(root: Storage, name: str = "auto") -> str:
    """The name of the source that `root` holds; a name other than `auto` is taken as given.

    Raises UserError when the folder is missing or without audio, or the name unknown.
    """
    if name not in ("auto", *SOURCES):
        known = ", ".join(("auto", *SOURCES))
        raise UserError(f"source {name!r}: unknown; known: {known}")
    if not root.fs.isdir(root.root):
        raise UserError(f"--input {root.uri}: no such folder; name one that holds audio files")
    if next(SOURCES[name]().files(root) if name != "auto" else walk(root), None) is None:
        raise UserError(
            f"--input {root.uri}: holds no FLAC, WAV, OGG or MP3 file; name the folder above the "
            "audio"
        )
    if name != "auto":
        return name
    return next(known for known, source in SOURCES.items() if source().matches(root))
