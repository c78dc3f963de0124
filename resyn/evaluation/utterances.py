"""The speech to evaluate on: a LibriSpeech-shaped tree, or any folder of audio."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import PurePosixPath

from resyn.audio import AudioFault, decode
from resyn.codec.base import CodecSpec
from resyn.errors import UserError
from resyn.storage import Storage, open_storage
from resyn.types import Audio

SUFFIXES = (".flac", ".wav")
_LIBRISPEECH_STEM = re.compile(r"(?P<speaker>\d+)-(?P<chapter>\d+)-\d+")


@dataclass(frozen=True, slots=True)
class Utterance:
    """One clip: `audio` at the codec's rate, a whole number of frames long.

    `utt_id` is the file's stem, or its path below the input folder where stems repeat.
    """

    utt_id: str
    speaker: str
    text: str | None
    source: str
    audio: Audio


@dataclass(frozen=True, slots=True)
class UtteranceSet:
    """What could be read, and `skipped`: (source, reason) of what could not."""

    utterances: tuple[Utterance, ...]
    skipped: tuple[tuple[str, str], ...]

    @property
    def seconds(self) -> float:
        """Total duration."""
        return sum(utterance.audio.seconds for utterance in self.utterances)


def list_clips(uri: str, limit: int | None = None) -> list[str]:
    """Paths below the folder `uri` of its audio files, sorted; at most `limit`.

    A limited list takes turns over the speakers, so that each has nearly the same share. Raises
    UserError for a folder that is missing or has no audio.
    """
    storage = open_storage(uri)
    if not storage.exists():
        raise UserError(f"--input {uri}: no such folder")
    found = (str(path) for path in storage.fs.find(storage.root))
    paths = sorted(path for path in found if PurePosixPath(path).suffix.lower() in SUFFIXES)
    if not paths:
        raise UserError(f"--input {uri}: no {' or '.join(SUFFIXES)} file in it")
    names = [path[len(storage.root) :].lstrip("/") for path in paths]
    return names if limit is None else _spread(names, limit)


def read_clips(uri: str, names: Sequence[str], spec: CodecSpec) -> UtteranceSet:
    """Read the clips `names` of the folder `uri` at the rate of `spec`, cut to whole frames.

    Raises UserError when not one can be used.
    """
    storage = open_storage(uri)
    stems = Counter(PurePosixPath(name).stem for name in names)
    utterances: list[Utterance] = []
    skipped: list[tuple[str, str]] = []
    for name in names:
        stem = PurePosixPath(name).stem
        try:
            audio = _read(storage, name, spec)
        except AudioFault as fault:
            skipped.append((name, f"{fault.code}: {fault.detail}"))
            continue
        utt_id = stem if stems[stem] == 1 else str(PurePosixPath(name).with_suffix(""))
        text = _transcript(storage, name, stem)
        utterances.append(Utterance(utt_id, speaker_of(name), text, name, audio))
    if not utterances:
        source, reason = skipped[0]
        raise UserError(
            f"--input {uri}: no usable audio (first of {len(skipped)}: {source}: {reason})"
        )
    return UtteranceSet(tuple(utterances), tuple(skipped))


def speaker_of(name: str) -> str:
    """LibriSpeech's `speaker-chapter-number`, else the parent folder, else the empty string."""
    path = PurePosixPath(name)
    if match := _LIBRISPEECH_STEM.fullmatch(path.stem):
        return match["speaker"]
    return path.parent.name


def _read(storage: Storage, name: str, spec: CodecSpec) -> Audio:
    audio = decode(storage.read_bytes(name), spec.sample_rate)
    whole = len(audio.samples) // spec.hop * spec.hop
    if not whole:
        raise AudioFault("too_short", f"{audio.seconds * 1000:.1f} ms is less than one frame")
    return Audio(audio.samples[:whole], spec.sample_rate)


def _transcript(storage: Storage, name: str, stem: str) -> str | None:
    match = _LIBRISPEECH_STEM.fullmatch(stem)
    if match is None:
        return None
    book = f"{match['speaker']}-{match['chapter']}.trans.txt"
    beside = str(PurePosixPath(name).with_name(book))
    if not storage.exists(beside):
        return None
    for line in storage.read_bytes(beside).decode("utf-8", errors="replace").splitlines():
        utt_id, _, text = line.partition(" ")
        if utt_id == stem:
            return text.strip()
    return None


def _spread(names: Sequence[str], limit: int) -> list[str]:
    by_speaker: dict[str, list[str]] = {}
    for name in names:
        by_speaker.setdefault(speaker_of(name), []).append(name)
    turns = chain.from_iterable(zip_longest(*by_speaker.values()))
    return sorted([name for name in turns if name is not None][:limit])
