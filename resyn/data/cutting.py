"""How a file is cut into segments: evenly, or by voice activity.

The latter is what LibriLight's own `cut_by_vad.py` does, which writes a second copy of the audio;
here a segment is a list of spans, stitched when they are read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from resyn.audio.faults import AudioFault


@dataclass(frozen=True, slots=True)
class Span:
    """`num_samples` from sample `start` of a file."""

    start: int
    num_samples: int


def speech_spans(stated: object, sample_rate: int, num_samples: int) -> list[Span]:
    """`voice_activity` as written, [[start, end], …] in seconds, to disjoint spans in order.

    Times are rounded down to samples; spans that overlap or touch are merged, and what lies
    beyond the file's `num_samples` is cut off. Raises AudioFault `json` for what is no such list.
    """
    spans: list[Span] = []
    for start, end in sorted(_times(stated)):
        first = int(min(start * sample_rate, num_samples))
        after = int(min(end * sample_rate, num_samples))
        if spans and first <= (reached := spans[-1].start + spans[-1].num_samples):
            last = spans.pop()
            spans.append(Span(last.start, max(reached, after) - last.start))
        elif after > first:
            spans.append(Span(first, after - first))
    return spans


def _times(stated: Any) -> Iterator[tuple[float, float]]:
    if not isinstance(stated, list):
        raise AudioFault("json", "no list under voice_activity to cut by")
    for pair in stated:
        try:
            start, end = (float(time) for time in pair)
        except (TypeError, ValueError, OverflowError) as error:
            raise AudioFault("json", f"voice_activity: {pair!r} is no [start, end]") from error
        if not 0 <= start <= end < math.inf:
            raise AudioFault("json", f"voice_activity: {pair!r} does not run forward from 0")
        yield start, end


def stitch(spans: Sequence[Span], most: int, least: int) -> list[list[Span]]:
    """Consecutive spans joined into segments of `least` to `most` samples.

    As in LibriLight's script a segment ends before the span that would make it longer than
    `most`. Beyond it, a span that is itself longer is divided, and what is below `least` is
    levelled with its neighbour. Only spans of less than `least` altogether make one that short.
    """
    lengths: list[int] = []
    held = 0
    for span in spans:
        if held >= least and held + span.num_samples > most:
            lengths += [length for _, length in cut(held, most, least)]
            held = 0
        held += span.num_samples
    if lengths and held < least:
        held += lengths.pop()
    lengths += [length for _, length in cut(held, most, least)]
    return list(_divide(spans, lengths))


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


def _divide(spans: Sequence[Span], lengths: Sequence[int]) -> Iterator[list[Span]]:
    """The spans' samples in order, dealt out as segments of the given lengths."""
    rest = list(reversed(spans))
    for length in lengths:
        segment: list[Span] = []
        while length:
            span = rest.pop()
            taken = min(length, span.num_samples)
            segment.append(Span(span.start, taken))
            if taken < span.num_samples:
                rest.append(Span(span.start + taken, span.num_samples - taken))
            length -= taken
        yield segment
