"""Audio of any length to coarse codes; nothing else of it is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from resyn.audio.resample import resample_blocks
from resyn.codec.base import Codec
from resyn.codec.pieces import encode_pieces
from resyn.errors import UserError


def coarse_codes(
    codec: Codec, blocks: Iterable[np.ndarray], sample_rate: int, num_coarse: int
) -> np.ndarray:
    """The first `num_coarse` levels (c,T) int64 of consecutive blocks (n,) at `sample_rate` Hz.

    T = ⌈S / hop⌉, the last frame filled up with zeros. Raises UserError for audio without samples.
    """
    spec = codec.spec
    pieces = _whole_frames(resample_blocks(blocks, sample_rate, spec.sample_rate), spec.hop)
    # A copy, since a view would keep the other levels.
    kept = [f.codes[0, :num_coarse].cpu().numpy().copy() for f in encode_pieces(codec, pieces)]
    if not kept:
        raise UserError("audio: it has no samples; need at least one")
    return np.concatenate(kept, axis=1)


def _whole_frames(blocks: Iterable[np.ndarray], hop: int) -> Iterator[Tensor]:
    """The samples of `blocks` in pieces (1,1,n·hop), zeros after the last."""
    held = np.zeros(0, np.float32)
    for block in blocks:
        held = np.concatenate([held, block])
        ready = len(held) - len(held) % hop
        if ready:
            yield torch.from_numpy(held[:ready])[None, None]
            held = held[ready:]
    if len(held):
        yield torch.from_numpy(np.pad(held, (0, hop - len(held))))[None, None]
