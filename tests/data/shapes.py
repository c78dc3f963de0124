"""One corpus of three clips, written in every shape that `encode` reads."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import soundfile


@dataclass(frozen=True)
class Clip:
    """A FLAC file of 16 kHz and what is known of it."""

    name: str
    flac: bytes
    seconds: float
    speaker: str
    book: str
    text: str

    @property
    def description(self) -> bytes:
        """LibriLight's description."""
        return json.dumps({"speaker": self.speaker, "book_meta": {"id": self.book}}).encode()


def make_clips(tone: Callable[..., Any]) -> list[Clip]:
    clips: list[Clip] = []
    for number, seconds in enumerate((1.0, 1.5, 0.75)):
        buffer = io.BytesIO()
        soundfile.write(buffer, tone(seconds, seed=number), 16_000, format="FLAC")
        name, text = f"61-{700 + number}-000{number}", f"TEXT NUMBER {number}"
        clips.append(Clip(name, buffer.getvalue(), seconds, "61", f"{700 + number}", text))
    return clips


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    return write(path, gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)


def folder(root: Path, clips: list[Clip]) -> Path:
    for clip in clips:
        write(root / "audio" / f"{clip.name}.flac", clip.flac)
    return root


def librispeech(root: Path, clips: list[Clip]) -> Path:
    for clip in clips:
        chapter = root / "dev" / clip.speaker / clip.book
        write(chapter / f"{clip.name}.flac", clip.flac)
        listing = chapter / f"{clip.speaker}-{clip.book}.trans.txt"
        write(listing, f"{clip.name} {clip.text}\n".encode())
    return root


def librilight(root: Path, clips: list[Clip]) -> Path:
    for clip in clips:
        stem = root / "small" / clip.speaker / f"novel_{clip.book}" / clip.name
        write(stem.with_suffix(".flac"), clip.flac)
        write(stem.with_suffix(".json"), clip.description)
    return root


def nemo(root: Path, clips: list[Clip]) -> Path:
    folder(root, clips)
    rows = [
        {"audio_filepath": f"audio/{c.name}.flac", "duration": c.seconds, "text": c.text}
        | {"speaker": c.speaker}
        for c in clips
    ]
    return write_lines(root / "train.jsonl", rows)


def fairseq(root: Path, clips: list[Clip]) -> Path:
    folder(root, clips)
    lines = [f"{c.name}.flac\t{round(16_000 * c.seconds)}\n" for c in clips]
    return write(root / "train.tsv", "".join([f"{root / 'audio'}\n", *lines]).encode())


def _recording(clip: Clip) -> dict[str, Any]:
    source = {"type": "file", "channels": [0], "source": f"audio/{clip.name}.flac"}
    samples = round(16_000 * clip.seconds)
    return {
        "id": clip.name,
        "sources": [source],
        "sampling_rate": 16_000,
        "num_samples": samples,
        "duration": clip.seconds,
    }


def lhotse_recordings(root: Path, clips: list[Clip]) -> Path:
    folder(root, clips)
    return write_lines(root / "recordings.jsonl.gz", [_recording(clip) for clip in clips])


def lhotse_cuts(root: Path, clips: list[Clip]) -> Path:
    folder(root, clips)
    rows = [
        {"id": c.name, "start": 0.0, "duration": c.seconds, "channel": 0, "type": "MonoCut"}
        | {"supervisions": [{"text": c.text, "speaker": c.speaker}], "recording": _recording(c)}
        for c in clips
    ]
    return write_lines(root / "cuts.jsonl.gz", rows)


def webdataset(root: Path, clips: list[Clip]) -> Path:
    for number, clip in enumerate(clips):
        described = {"speaker": clip.speaker, "book": clip.book, "text": clip.text}
        members = [(f"{clip.name}.flac", clip.flac), (f"{clip.name}.txt", b"passed over")]
        members.append((f"{clip.name}.json", json.dumps(described).encode()))
        write_tar(root / f"shard-{number}.tar", members)
    return root


def librilight_tar(root: Path, clips: list[Clip]) -> Path:
    """All descriptions before all audio: members of a stem need not be neighbours."""
    stems = {c.name: f"./small/{c.speaker}/novel_{c.book}/{c.name}" for c in clips}
    members = [(f"{stems[c.name]}.json", c.description) for c in clips]
    members += [(f"{stems[c.name]}.flac", c.flac) for c in clips]
    return write_tar(root / "small.tar", members)


def parquet(root: Path, clips: list[Clip]) -> Path:
    rows = [
        {"audio": {"bytes": c.flac, "path": f"/somewhere/{c.name}.flac"}, "text": c.text}
        | {"speaker_id": int(c.speaker), "chapter_id": int(c.book)}
        for c in clips
    ]
    root.mkdir(parents=True, exist_ok=True)
    path = root / "dev-00000-of-00001.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
    return path


#: Shape → (writer, source that is detected, labels that the shape carries).
SHAPES: dict[str, tuple[Callable[[Path, list[Clip]], Path], str, set[str]]] = {
    "folder": (folder, "folder", set()),
    "librispeech": (librispeech, "librispeech", {"speaker", "book", "text"}),
    "librilight": (librilight, "librilight", {"speaker", "book"}),
    "nemo": (nemo, "nemo", {"speaker", "text"}),
    "fairseq": (fairseq, "fairseq", set()),
    "lhotse recordings": (lhotse_recordings, "lhotse", set()),
    "lhotse cuts": (lhotse_cuts, "lhotse", {"speaker", "text"}),
    "webdataset": (webdataset, "webdataset", {"speaker", "book", "text"}),
    "librilight tar": (librilight_tar, "webdataset", {"speaker", "book"}),
    "parquet": (parquet, "parquet", {"speaker", "book", "text"}),
}
SPLITS = {"librispeech": "dev", "librilight": "small", "librilight tar": "small", "parquet": "dev"}
