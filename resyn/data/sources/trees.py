"""Folders of audio files, and the two trees that carry labels beside them."""

from __future__ import annotations

import itertools
import posixpath
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from typing import ClassVar

from resyn.audio.faults import AudioFault
from resyn.data.fetch import InputFile, refusals
from resyn.data.sources.base import Labels, SourceFile, first_file, name_of, stem, walk
from resyn.data.sources.labels import labels_of, read_description
from resyn.storage import Storage

#: Audio files looked at to tell one folder shape from another.
_SAMPLE = 16
#: Chapters whose transcripts are kept: more than the files that are described at once.
_CHAPTERS = 64


class FolderSource:
    """Any folder of audio files; the base of the corpora that add labels."""

    looks_for: ClassVar[str] = "FLAC, WAV, OGG or MP3 file"
    in_any_order: ClassVar[bool] = True

    def __init__(self, root: Storage, allowed_root: str = "") -> None:
        self.base = root

    @classmethod
    def holds(cls, root: Storage) -> bool:
        """True for a folder with audio in it."""
        return first_file(root) is not None

    @classmethod
    def matches(cls, root: Storage) -> bool:
        """Any folder of audio will do."""
        return cls.holds(root)

    def check(self) -> None:
        """What a walk finds lies below the folder, once."""

    def stored(self) -> Iterator[SourceFile]:
        """The audio files."""
        return self.files()

    def files(self) -> Iterator[SourceFile]:
        """Every audio file, folder by folder in name order."""
        return walk(self.base)

    def describe(self, file: SourceFile) -> SourceFile:
        """A plain folder says nothing."""
        return file

    @classmethod
    def _sample(cls, root: Storage) -> Iterator[SourceFile]:
        return itertools.islice(walk(root), _SAMPLE if cls.holds(root) else 0)


class LibriLightSource(FolderSource):
    """`<split>/<speaker>/<book>/<file>.flac` with a `.json` of the same stem beside it."""

    @classmethod
    def matches(cls, root: Storage) -> bool:
        """True when one of the first files has its `.json`."""
        return any(root.exists(stem(file.uri) + ".json") for file in cls._sample(root))

    def describe(self, file: SourceFile) -> SourceFile:
        """Speaker, book and speech from the `.json`; from the path when there is none."""
        labels = self._described(stem(file.uri) + ".json")
        split, speaker, book = _parents(self.base, file)
        speaker, book = labels.speaker or speaker, labels.book or book
        return replace(file, labels=replace(labels, speaker=speaker, book=book, split=split))

    def _described(self, name: str) -> Labels:
        try:
            with InputFile(self.base, name) as stored:
                return labels_of(read_description(name, stored))
        except AudioFault as fault:
            if isinstance(fault.__cause__, FileNotFoundError):
                return Labels()
            raise


class LibriSpeechSource(FolderSource):
    """`<subset>/<speaker>/<chapter>/<utterance>.flac` with one `.trans.txt` per chapter."""

    def __init__(self, root: Storage, allowed_root: str = "") -> None:
        super().__init__(root, allowed_root)
        self._lock = threading.Lock()
        self._texts = lru_cache(_CHAPTERS)(partial(_transcripts, root))

    @classmethod
    def matches(cls, root: Storage) -> bool:
        """True when one of the first files lies beside a `.trans.txt`."""
        folders = {posixpath.dirname(file.uri) for file in cls._sample(root)}
        return any(root.names(folder, ".trans.txt") for folder in folders)

    def describe(self, file: SourceFile) -> SourceFile:
        """Speaker and chapter from the path, text from the chapter's transcript."""
        folder, name = posixpath.split(file.uri)
        with self._lock:  # Several files of a chapter may be asked for at once.
            texts = self._texts(folder)
        split, speaker, chapter = _parents(self.base, file)
        text = texts.get(stem(name), "")
        return replace(file, labels=Labels(speaker, chapter, text, split))


def _parents(root: Storage, file: SourceFile) -> tuple[str, str, str]:
    """The three folders above a file, the root's own name included, outermost first."""
    parts = [name_of(root), *file.uri.split("/")[:-1]]
    above = ["", "", "", *parts][-3:]
    return above[0], above[1], above[2]


def _transcripts(root: Storage, folder: str) -> dict[str, str]:
    texts: dict[str, str] = {}
    with refusals(root):
        for name in root.names(folder, ".trans.txt"):
            content = root.read_bytes(posixpath.join(folder, name)).decode(errors="replace")
            pairs = (line.strip().partition(" ") for line in content.splitlines())
            texts |= {utterance: text for utterance, _, text in pairs if utterance}
    return texts
