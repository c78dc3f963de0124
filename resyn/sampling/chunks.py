"""Long items in bounded memory: overlapping chunks, their cross-fade, and decoding as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from resyn.errors import UserError


@dataclass(frozen=True, slots=True)
class Chunking:
    """At most `chunk` frames at once, neighbours sharing `overlap` frames or a few more.

    Of an overlap the outer quarters (`margin`) are context alone and the half between them is
    cross-faded linearly. So a result that depends on at most `margin` frames to either side is
    the result without chunks.
    """

    chunk: int
    overlap: int

    def __post_init__(self) -> None:
        if self.overlap < 0 or 2 * self.overlap > self.chunk or self.chunk < 1:
            raise UserError(
                f"chunks of {self.chunk} frames overlapping by {self.overlap}: need at least one "
                "frame, and an overlap of at most half a chunk"
            )

    @classmethod
    def of_seconds(cls, chunk: float, overlap: float, frame_rate: float) -> Chunking:
        """From seconds. Raises UserError when they make no chunk."""
        try:
            return cls(round(chunk * frame_rate), round(overlap * frame_rate))
        except UserError as error:
            given = f"--chunk-seconds {chunk:g} with --overlap-seconds {overlap:g}"
            raise UserError(f"{given}: {error}") from error

    @property
    def margin(self) -> int:
        """Frames of context that every frame of the result had on either side, at least."""
        return self.overlap // 4

    def spans(self, frames: int) -> list[range]:
        """The fewest chunks that cover `frames`, of one length, evenly placed."""
        if frames <= self.chunk:
            return [range(frames)]
        count = -(-(frames - self.overlap) // (self.chunk - self.overlap))
        length = -(-(frames + (count - 1) * self.overlap) // count)
        starts = [index * (frames - length) // (count - 1) for index in range(count)]
        return [range(start, start + length) for start in starts]


def fade_in(frames: int) -> Tensor:
    """Weights (frames,1) of the later of two chunks in their overlap: 0, a rising line, 1."""
    margin = frames // 4
    places = torch.arange(frames, dtype=torch.float32) + 0.5 - margin
    return (places / max(frames - 2 * margin, 1)).clamp(0, 1)[:, None]


def stitch(chunks: Iterable[Tensor], spans: Sequence[range]) -> Iterator[Tensor]:
    """Chunks (B,t,D) at `spans`, cross-faded, to consecutive stretches that make up the whole."""
    ends = [following.start for following in spans[1:]] + [spans[-1].stop]
    tail: Tensor | None = None
    for chunk, span, end in zip(chunks, spans, ends, strict=True):
        if tail is not None:
            shared = tail.shape[1]
            weight = fade_in(shared).to(chunk)
            mixed = (1 - weight) * tail + weight * chunk[:, :shared]
            chunk = torch.cat([mixed, chunk[:, shared:]], dim=1)
        finished = end - span.start
        yield chunk[:, :finished]
        tail = chunk[:, finished:]


def decode_stream(
    latents: Iterable[Tensor], decode: Callable[[Tensor], Tensor], hop: int, context: int
) -> Iterator[Tensor]:
    """Consecutive stretches (B,t,D) to consecutive samples (B,1,·), `hop` per frame.

    Every stretch is decoded with up to `context` frames before and after it. So samples that
    depend on at most so many frames to either side are those of decoding the whole at once.
    """
    held: Tensor | None = None
    done = 0
    for stretch in latents:
        held = stretch if held is None else torch.cat([held, stretch], dim=1)
        ready = held.shape[1] - context
        if ready > done:
            yield decode(held)[..., done * hop : ready * hop]
            dropped = max(0, ready - context)
            held, done = held[:, dropped:], ready - dropped
    if held is not None and held.shape[1] > done:
        yield decode(held)[..., done * hop :]
