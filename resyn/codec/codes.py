"""Codes as users give them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from resyn.codec.base import CodecSpec
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
