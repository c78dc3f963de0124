"""From an input file to the segments that become rows."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, cast

from resyn.audio.faults import AudioFault
from resyn.audio.io import AudioInfo, probe
from resyn.data.fetch import HEADER_BYTES, InputFile
from resyn.data.quarantine import Refusal
from resyn.data.sources import Source, SourceFile
from resyn.storage import Storage

#: EnCodec reflects its first frames, so that a clip of fewer frames than its widest kernel would
#: depend on the padding behind it.
SHORTEST_SECONDS = 0.2
#: Longer files are refused: a few kilobytes of FLAC can hold days of silence.
LONGEST_SECONDS = 48 * 3600.0


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One segment: `num_samples` from `start`, both at the source's own `sample_rate`."""

    utt_id: str
    source_uri: str
    source_format: str
    source_etag: str
    start: int
    num_samples: int
    sample_rate: int
    speaker: str
    book: str
    text: str
    split: str

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.num_samples / self.sample_rate


def make_utt_id(source_uri: str, start: int) -> str:
    """An id that is the same wherever the corpus lies and safe as a file name.

    The file's own name serves the reader; twelve hex digits of the relative URI make it unique.
    """
    stem = posixpath.splitext(posixpath.basename(source_uri))[0]
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", stem)[:48]
    return f"{readable}-{hashlib.sha256(source_uri.encode()).hexdigest()[:12]}-{start}"


def cut(num_samples: int, most: int, least: int) -> Iterator[tuple[int, int]]:
    """Split a file into (start, length) of `most` samples and a rest.

    A rest below `least` is levelled with the piece before it, so that no piece is too short.
    """
    start = 0
    while start < num_samples:
        left = num_samples - start
        length = left // 2 if most < left < most + least else min(most, left)
        yield start, length
        start += length


def plan_file(
    root: Storage, source: Source, file: SourceFile, segment_seconds: float, split: str = ""
) -> list[ManifestRow] | Refusal:
    """The segments of one file, at most `segment_seconds` each, or why it is refused.

    `split` replaces what the corpus says when not empty. Reads the file's header only.
    """
    try:
        info = _probe(root, file)
        labels = source.labels(root, file)
    except AudioFault as fault:
        return Refusal(file.uri, make_utt_id(file.uri, 0), fault.code, fault.detail)
    most = int(segment_seconds * info.sample_rate)
    least = int(SHORTEST_SECONDS * info.sample_rate)
    pieces = list(cut(info.num_samples, most, least))
    # A transcript covers its whole file, so a piece of one has none.
    text = labels.text if len(pieces) == 1 else ""
    return [
        ManifestRow(
            utt_id=make_utt_id(file.uri, start),
            source_uri=file.uri,
            source_format=info.format,
            source_etag=file.etag,
            start=start,
            num_samples=length,
            sample_rate=info.sample_rate,
            speaker=labels.speaker,
            book=labels.book,
            text=text,
            split=split or labels.split,
        )
        for start, length in pieces
    ]


def _probe(root: Storage, file: SourceFile) -> AudioInfo:
    if not file.size:
        raise AudioFault("empty", "the file has no bytes")
    with InputFile(root, file.uri, block_bytes=HEADER_BYTES) as handle:
        try:
            info = probe(cast("IO[bytes]", handle), file.size)
        except AudioFault:
            handle.check()  # A read that failed looks like a file that ends.
            raise
        handle.check()
    if info.seconds < SHORTEST_SECONDS:
        raise AudioFault("too_short", f"{info.seconds:.3f} s is below {SHORTEST_SECONDS} s")
    if info.seconds > LONGEST_SECONDS:
        detail = f"{info.seconds / 3600:.1f} h is above {LONGEST_SECONDS / 3600:.0f} h"
        raise AudioFault("too_long", detail)
    return info
