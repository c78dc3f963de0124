"""Crops of token shards to batches of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from resyn.data.sampler import Crop
from resyn.data.shards import ShardReader
from resyn.types import AudioBatch, LatentBatch, LatentSpace


def latent_batch(
    reader: ShardReader, crops: Sequence[Crop], frames: int, space: LatentSpace
) -> LatentBatch:
    """Codes (B,K,T) and z (B,T,D) of `frames` frames each; a shorter segment is padded and masked.

    Where the shards carry no `z`, the sum of all levels stands in for it: methods that learn
    codes alone never look at it.
    """
    columns = [name for name in ("codes", "z") if name in reader.columns]
    rows = [reader.read(crop.segment, columns, crop.start, frames) for crop in crops]
    codes = [_fit(_required(row.codes).T, frames) for row in rows]
    codes_tensor = torch.from_numpy(np.stack(codes).astype(np.int64)).transpose(1, 2).contiguous()
    if "z" in columns:
        z = [_fit(_required(row.z), frames) for row in rows]
        z_tensor = torch.from_numpy(np.stack(z).astype(np.float32))
    else:
        z_tensor = space.embed(codes_tensor)
    lengths = [_required(row.codes).shape[1] for row in rows]
    return LatentBatch(z_tensor, codes_tensor, space, _mask(lengths, frames))


def audio_batch(reader: ShardReader, crops: Sequence[Crop], frames: int) -> AudioBatch:
    """Waveforms (B,1,S) of `frames` codec frames each; a shorter segment is padded with zeros."""
    hop = reader.spec.hop
    rows = []
    for crop in crops:
        audio = _required(reader.read(crop.segment, ["audio"], crop.start, frames).audio)
        rows.append(_fit(audio, frames * hop))
    return AudioBatch(torch.from_numpy(np.stack(rows).astype(np.float32))[:, None])


def _required(array: np.ndarray | None) -> np.ndarray:
    if array is None:
        raise ValueError("the shard row lacks a column that was asked for")
    return array


def _fit(rows: np.ndarray, length: int) -> np.ndarray:
    """Pad the first axis with zeros up to `length`."""
    missing = length - len(rows)
    return np.pad(rows, [(0, missing)] + [(0, 0)] * (rows.ndim - 1)) if missing else rows


def _mask(lengths: Sequence[int], frames: int) -> Tensor | None:
    """True on real frames, (B,T); None when all are real."""
    if min(lengths) == frames:
        return None
    return torch.arange(frames)[None] < torch.tensor(lengths)[:, None]
