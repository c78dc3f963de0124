"""Audio of any length through an encoder, in memory that does not grow with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from resyn.codec.base import Codec, PieceEncoder
from resyn.types import CodecFrames


class Window(NamedTuple):
    """`audio` (B,1,s): `frames` to encode after `before` frames that are context."""

    audio: Tensor
    before: int
    frames: int


def windows(
    pieces: Iterable[Tensor], hop: int, chunk: int, before: int = 0, after: int = 0
) -> Iterator[Window]:
    """Consecutive audio (B,1,·), whole frames each, as windows of `chunk` frames with context.

    Each has up to `before` frames ahead of its own and `after` behind them. They are those of the
    joined pieces, however these were cut.
    """
    held: Tensor | None = None
    past = 0
    for piece in pieces:
        held = piece if held is None else torch.cat([held, piece], dim=-1)
        while held.shape[-1] >= (past + chunk + after) * hop:
            yield Window(held[..., : (past + chunk + after) * hop], past, chunk)
            dropped = max(past + chunk - before, 0)
            held, past = held[..., dropped * hop :], past + chunk - dropped
    while held is not None and held.shape[-1] > past * hop:
        count = min(chunk, held.shape[-1] // hop - past)
        yield Window(held[..., : (past + count + after) * hop], past, count)
        dropped = max(past + count - before, 0)
        held, past = held[..., dropped * hop :], past + count - dropped


def encode_pieces(codec: Codec, pieces: Iterable[Tensor]) -> Iterator[CodecFrames]:
    """`codec.encode` of the joined `pieces` (B,1,·), whole frames each, in consecutive stretches.

    A codec that is no `PieceEncoder` sees them all at once.
    """
    if isinstance(codec, PieceEncoder):
        return codec.encode_pieces(pieces)
    audio = list(pieces)
    return iter([codec.encode(torch.cat(audio, dim=-1))] if audio else [])


def joined(stretches: Iterable[CodecFrames]) -> CodecFrames:
    """Consecutive stretches as one."""
    frames = list(stretches)
    return CodecFrames(
        z=torch.cat([f.z for f in frames], dim=1), codes=torch.cat([f.codes for f in frames], dim=2)
    )
