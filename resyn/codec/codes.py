"""Codes as users give them, and those of long audio in bounded memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from resyn.codec.base import Codec, CodecSpec
from resyn.errors import UserError


def read_codes(given: np.ndarray) -> Tensor:
    """Integers (levels,T) or (T,) as a batch of one, (1,levels,T) int64.

    Raises UserError for other types than integers.
    """
    levels = np.atleast_2d(np.asarray(given))
    if levels.dtype.kind not in "iu":
        raise UserError(f"codes: need integers, got {levels.dtype}")
    return torch.from_numpy(levels.astype(np.int64))[None]


def check_codes(codes: Tensor, spec: CodecSpec, num_coarse: int) -> None:
    """Raises UserError unless `codes` (B,levels,T) can be of `spec` and suffice for the model."""
    if codes.ndim != 3 or codes.shape[1] < num_coarse or not codes.shape[2]:
        raise UserError(
            f"codes: need at least {num_coarse} levels and one frame, got shape "
            f"{tuple(codes.shape[1:])} as (levels, frames)"
        )
    low, high = int(codes.min()), int(codes.max())
    if low < 0 or high >= spec.codebook_size:
        raise UserError(
            f"codes: values from {low} to {high} lie outside 0 … {spec.codebook_size - 1} "
            f"of codec {spec.name}"
        )


def item_lengths(mask: Tensor) -> list[int]:
    """Frames of each item of `mask` (B,T). Raises UserError unless they are its first ones."""
    lengths = mask.sum(1)
    first = torch.arange(mask.shape[1], device=mask.device) < lengths[:, None]
    if not (lengths > 0).all() or not torch.equal(first, mask):
        raise UserError("mask: must be True on the first frames of each item, at least on one")
    return lengths.tolist()


def encode_codes(codec: Codec, audio: Tensor, chunk: int | None = None, context: int = 0) -> Tensor:
    """Codes (1,K,T) of `audio` (1,1,S), S a multiple of the hop, `chunk` frames at a time if given.

    Each chunk is encoded between up to `context` frames of its neighbours: the codes of the whole,
    if the encoder reaches no further. EnCodec's recurrent layer does, so its codes may differ.
    Raises UserError for audio without samples.
    """
    hop = codec.spec.hop
    frames = audio.shape[2] // hop
    if not frames:
        raise UserError("audio: it has no samples; need at least one")
    parts: list[Tensor] = []
    for start in range(0, frames, chunk or frames):
        first, stop = max(start - context, 0), min(start + (chunk or frames), frames)
        codes = codec.encode(audio[:, :, first * hop : (stop + context) * hop]).codes
        parts.append(codes[:, :, start - first : stop - first])
    return torch.cat(parts, dim=2)
