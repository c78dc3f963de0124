"""Writers of the folder shapes that researchers know: LibriLight's and LibriSpeech's."""

import io
import json
import math
import random
import re
import string
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from resyn.corpus.lexicon import TRAIN_LEXICON
from resyn.corpus.record import CorpusSummary, begin, finish, write_atomically
from resyn.corpus.sentences import draw_sentence, transcript
from resyn.corpus.speech import CORPUS_RATE, Recording, record, speak
from resyn.corpus.voices import Voice, voices

Progress = Callable[[float, float], None]

_FILES_PER_BOOK = 4
_UTTERANCES_PER_CHAPTER = 10
_UTTERANCE_SECONDS = (2.5, 6.0)
# The evaluation grammar makes about ten times as many sentences.
_MOST_UTTERANCES = 2000


def write_librilight(
    root: Path,
    *,
    minutes: float,
    seed: int = 0,
    split: str = "small",
    progress: Progress | None = None,
) -> CorpusSummary:
    """Write training speech as `root/split/speaker/book/file.flac` with a `.json` beside each.

    Args:
        root: a folder that is new, empty, or holds this very corpus, which is then completed.
        minutes: audio to write, above 0; the last file may run up to a minute over.
        seed: equal seeds give byte-identical files.
        split: name of the first folder, `small`, `medium` or any other word.
        progress: called after every file with the seconds written and the seconds asked for.

    Files are 20 to 60 s of 16 kHz mono 16-bit FLAC: one train voice reading a few sentences.

    Raises:
        ValueError: a bad argument.
        UserError: `root` holds something else, or the extra `demo` is not installed.
    """
    if not 0 < minutes < math.inf:
        raise ValueError(f"minutes must be above 0 and finite, not {minutes}")
    root = Path(root)
    parameters = {"layout": "librilight", "minutes": float(minutes), "seed": seed}
    parameters["split"] = _folder_name(split)
    if complete := begin(root, parameters):
        return complete
    seconds, files, speakers = 0.0, 0, set[str]()
    for number, voice in enumerate(_rounds(seed)):
        seconds += _librilight_file(root / split, voice, number, f"{seed}/{split}")
        files += 1
        speakers.add(voice.id)
        if progress:
            progress(seconds, 60 * minutes)
        if seconds >= 60 * minutes:
            break
    return finish(root, parameters, CorpusSummary(files, seconds, len(speakers)))


def write_librispeech(
    root: Path,
    *,
    utterances: int,
    seed: int = 0,
    subset: str = "test-clean",
    progress: Progress | None = None,
) -> CorpusSummary:
    """Write evaluation speech as `root/subset/speaker/chapter/speaker-chapter-NNNN.flac`.

    Args:
        root: a folder that is new, empty, or holds this very corpus, which is then completed.
        utterances: files to write, 1 to 2000, shared evenly among the eval voices.
        seed: equal seeds give byte-identical files.
        subset: name of the first folder.
        progress: called after every chapter with the utterances written and those asked for.

    Files are 2.5 to 6 s of 16 kHz mono 16-bit FLAC, one sentence each and no sentence twice; every
    chapter has a `speaker-chapter.trans.txt`. Voices and sentences are none of LibriLight's.

    Raises:
        ValueError: a bad argument.
        UserError: `root` holds something else, or the extra `demo` is not installed.
    """
    if not 1 <= utterances <= _MOST_UTTERANCES:
        raise ValueError(f"utterances must be 1 to {_MOST_UTTERANCES}, not {utterances}")
    root = Path(root)
    parameters = {"layout": "librispeech", "utterances": utterances, "seed": seed}
    parameters["subset"] = _folder_name(subset)
    if complete := begin(root, parameters):
        return complete
    seconds, files, spoken = 0.0, 0, set[str]()
    for voice, chapter, size in _chapters(utterances):
        folder = root / subset / voice.id / chapter
        seconds += _librispeech_chapter(folder, voice, size, f"{seed}/{subset}", spoken)
        files += size
        if progress:
            progress(files, utterances)
    speakers = min(utterances, len(voices("eval")))
    return finish(root, parameters, CorpusSummary(files, seconds, speakers))


def _rounds(seed: int) -> Iterator[Voice]:
    """The train voices for ever, each once a round, in an order of the seed."""
    order = random.Random(f"{seed}/rounds").sample(voices("train"), len(voices("train")))
    while True:
        yield from order


def _librilight_file(folder: Path, voice: Voice, number: int, key: str) -> float:
    """Write file `number` with its metadata unless both are there; its seconds."""
    turn = number // len(voices("train"))
    book, chapter = divmod(turn, _FILES_PER_BOOK)
    title = _title(f"{key}/{voice.id}/{book}")
    slug = re.sub(r"\W+", "_", title.lower())
    book_id = f"{voice.id}{book:02d}"
    path = folder / voice.id / f"{slug}_{book_id}" / f"{slug}_{chapter + 1:02d}.flac"
    described = path.with_suffix(".json")
    if path.exists() and described.exists():
        return float(soundfile.info(path).duration)
    recording = _read_aloud(voice, random.Random(f"{key}/{voice.id}/{book}/{chapter}"))
    metadata = {
        "speaker": voice.id,
        "book_meta": {
            "id": book_id,
            "title": title,
            "authors": [],
            "genre": ["General Fiction"],
            "meta_genre": "Literature",
        },
        "snr": round(recording.snr, 4),
        "voice_activity": [[round(start, 4), round(end, 4)] for start, end in recording.spans],
    }
    write_atomically(path, _flac(recording))
    write_atomically(described, (json.dumps(metadata) + "\n").encode())
    return recording.seconds


def _read_aloud(voice: Voice, rng: random.Random) -> Recording:
    """Sentences up to a length of 20 to 60 s."""
    # Pauses and margins take about half a second per sentence; no sentence reaches 12 s.
    target = rng.uniform(22.0, 46.0)
    spoken: list[NDArray[np.float32]] = []
    while target > 0:
        spoken.append(speak(voice, draw_sentence("train", rng), rng))
        target -= len(spoken[-1]) / CORPUS_RATE + 0.5
    return record(spoken, rng)


def _title(key: str) -> str:
    return string.capwords(random.Random(key).choice(TRAIN_LEXICON["thing"]))


def _chapters(utterances: int) -> Iterator[tuple[Voice, str, int]]:
    """(voice, chapter, number of utterances), so that every voice gets its share."""
    readers = voices("eval")
    for place, voice in enumerate(readers):
        share = utterances // len(readers) + (place < utterances % len(readers))
        for chapter, first in enumerate(range(0, share, _UTTERANCES_PER_CHAPTER)):
            size = min(_UTTERANCES_PER_CHAPTER, share - first)
            yield voice, f"{voice.id}{chapter:02d}", size


def _librispeech_chapter(
    folder: Path, voice: Voice, size: int, key: str, spoken: set[str]
) -> float:
    """Write a chapter unless its transcript is there; its seconds. Adds its texts to `spoken`."""
    stem = f"{voice.id}-{folder.name}"
    listing = folder / f"{stem}.trans.txt"
    names = [f"{stem}-{number:04d}" for number in range(size)]
    if listing.exists():
        spoken.update(line.split(" ", 1)[1] for line in listing.read_text().splitlines())
        return sum(soundfile.info(folder / f"{name}.flac").duration for name in names)
    seconds, lines = 0.0, list[str]()
    for name in names:
        text, recording = _utterance(voice, random.Random(f"{key}/{name}"), spoken)
        write_atomically(folder / f"{name}.flac", _flac(recording))
        lines.append(f"{name} {text}\n")
        seconds += recording.seconds
    write_atomically(listing, "".join(lines).encode())
    return seconds


def _utterance(voice: Voice, rng: random.Random, spoken: set[str]) -> tuple[str, Recording]:
    """A sentence of the right length whose transcript is not yet in `spoken`; adds it there."""
    shortest, longest = _UTTERANCE_SECONDS
    while True:
        sentence = draw_sentence("eval", rng)
        text = transcript(sentence)
        if text in spoken:
            continue
        recording = record([speak(voice, sentence, rng)], rng)
        if shortest <= recording.seconds <= longest:
            spoken.add(text)
            return text, recording


def _flac(recording: Recording) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, recording.samples, CORPUS_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _folder_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(f"{name!r} cannot name a folder: use letters, digits, '-', '_' and '.'")
    return name
