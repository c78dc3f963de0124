"""From an input file to the segments that become rows."""

from __future__ import annotations

import hashlib
import io
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from resyn.audio.faults import AudioFault, FaultCode
from resyn.audio.io import AudioInfo, probe
from resyn.data.cutting import Span, cut, speech_spans, stitch
from resyn.data.fetch import HEADER_BYTES
from resyn.data.quarantine import Refusal
from resyn.data.sources import Source, SourceFile, SourceReader

#: EnCodec reflects its first frames, so that a clip of fewer frames than its widest kernel would
#: depend on the padding behind it.
SHORTEST_SECONDS = 0.2
#: Longer files are refused: a few kilobytes of FLAC can hold days of silence.
LONGEST_SECONDS = 48 * 3600.0
#: Manifests round durations: a region may end this much (seconds) after its file does.
ROUNDING_SECONDS = 0.05
_MOST_SAMPLES = 2.0**62


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One segment: `num_samples` from `start`, both at the source's own `sample_rate`.

    A segment stitched of several stretches of its file has them in `spans`, in order; `start` is
    then that of the first and `num_samples` that of all together. `source_size` bytes hold the
    file, in `container` at `position` as `SourceFile` explains; both are None for a plain file.
    """

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
    source_size: int
    container: str | None = None
    position: int | None = None
    spans: tuple[Span, ...] | None = None

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
    encoded = source_uri.encode(errors="surrogatepass")
    return f"{readable}-{hashlib.sha256(encoded).hexdigest()[:12]}-{start}"


def spans_of_row(row: Mapping[str, Any]) -> list[Span]:
    """The stretches of its file that a row of the manifest is made of, in order."""
    spans = row["spans"] or [{"start": row["start"], "num_samples": row["num_samples"]}]
    return [Span(**span) for span in spans]


def runs_of_rows(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Consecutive rows of one file in which every segment begins after the last one's end.

    Such a run can be decoded in one pass; a manifest may list segments in any order.
    """
    run: list[dict[str, Any]] = []
    for row in rows:
        if run:
            last = spans_of_row(run[-1])[-1]
            follows = row["start"] >= last.start + last.num_samples
            if row["source_uri"] != run[-1]["source_uri"] or not follows:
                yield run
                run = []
        run.append(row)
    if run:
        yield run


def plan_file(
    source: Source,
    reader: SourceReader,
    file: SourceFile,
    segment_seconds: float,
    split: str = "",
    cut_by_vad: bool = False,
) -> list[ManifestRow] | Refusal:
    """The segments of one file, at most `segment_seconds` each, or why it is refused.

    `split` replaces what the corpus says when not empty; `cut_by_vad` leaves out what the corpus
    does not call speech. Reads the file's header only.
    """
    if file.fault:
        return _refusal(file, file.fault)
    try:
        _check_text(file.uri, "access", "the name")
        file = source.describe(file)
        for name in ("speaker", "book", "text", "split"):
            _check_text(getattr(file.labels, name), "json", name)
        size, info = _probe(reader, file)
        pieces = _pieces(file, info, segment_seconds, cut_by_vad)
    except AudioFault as fault:
        return _refusal(file, fault)
    # A transcript covers its whole file, so a piece of one has none.
    text = file.labels.text if len(pieces) == 1 else ""
    labels = replace(file.labels, text=text, split=split or file.labels.split)
    file = replace(file, size=size, labels=labels)
    return [_row(file, info, spans) for spans in pieces]


def _row(file: SourceFile, info: AudioInfo, spans: list[Span]) -> ManifestRow:
    assert file.size is not None
    return ManifestRow(
        utt_id=make_utt_id(file.uri, spans[0].start),
        source_uri=file.uri,
        source_format=info.format,
        source_etag=file.etag,
        start=spans[0].start,
        num_samples=sum(span.num_samples for span in spans),
        sample_rate=info.sample_rate,
        speaker=file.labels.speaker,
        book=file.labels.book,
        text=file.labels.text,
        split=file.labels.split,
        source_size=file.size,
        container=file.container,
        position=file.position,
        spans=tuple(spans) if len(spans) > 1 else None,
    )


def _refusal(file: SourceFile, fault: AudioFault) -> Refusal:
    utt_id = make_utt_id(file.uri, 0)
    return Refusal(_shown(file.uri), utt_id, fault.code, _shown(fault.detail))


def _check_text(text: str, code: FaultCode, what: str) -> None:
    """A name in another encoding, or half of a surrogate pair, has no place in a table."""
    if _shown(text) != text:
        raise AudioFault(code, f"{what} is no Unicode: {text!r}")


def _shown(text: str) -> str:
    """`text` as far as it is Unicode, and else a question mark for each character."""
    return text.encode(errors="replace").decode()


def _pieces(
    file: SourceFile, info: AudioInfo, segment_seconds: float, cut_by_vad: bool
) -> list[list[Span]]:
    """The segments of a file as lists of spans."""
    most = int(segment_seconds * info.sample_rate)
    least = int(SHORTEST_SECONDS * info.sample_rate)
    if cut_by_vad:
        speech = speech_spans(file.labels.voice_activity, info.sample_rate, info.num_samples)
        _check_length(sum(span.num_samples for span in speech), info, " of speech")
        return stitch(speech, most, least)
    region = _region(file, info)
    _check_length(region.num_samples, info)
    pieces = cut(region.num_samples, most, least)
    return [[Span(region.start + start, length)] for start, length in pieces]


def _region(file: SourceFile, info: AudioInfo) -> Span:
    # A time may be any finite number, and its samples infinitely many.
    start = round(min(file.begin * info.sample_rate, _MOST_SAMPLES))
    left = max(0, info.num_samples - start)
    if file.seconds is None:
        return Span(start, left)
    wanted = round(min(file.seconds * info.sample_rate, _MOST_SAMPLES))
    if wanted > left + ROUNDING_SECONDS * info.sample_rate:
        end = file.begin + file.seconds
        detail = f"listed up to {end:.3f} s, but ends after {info.seconds:.3f} s"
        raise AudioFault("truncated", detail)
    return Span(start, min(wanted, left))


def _check_length(num_samples: int, info: AudioInfo, of_what: str = "") -> None:
    seconds = num_samples / info.sample_rate
    if seconds < SHORTEST_SECONDS:
        raise AudioFault("too_short", f"{seconds:.3f} s{of_what} is below {SHORTEST_SECONDS} s")


def _probe(reader: SourceReader, file: SourceFile) -> tuple[int, AudioInfo]:
    """The size in bytes of a file, and what it is."""
    if file.size == 0:
        raise AudioFault("empty", "the file has no bytes")
    with reader.open(file, HEADER_BYTES) as handle:
        size = handle.seek(0, io.SEEK_END)
        handle.seek(0)
        info = probe(handle, size)
    if info.seconds > LONGEST_SECONDS:
        detail = f"{info.seconds / 3600:.1f} h is above {LONGEST_SECONDS / 3600:.0f} h"
        raise AudioFault("too_long", detail)
    return size, info
