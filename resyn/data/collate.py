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
    codes = np.zeros((len(crops), reader.spec.num_codebooks, frames), np.uint16)
    lengths = [_required(row.codes).shape[1] for row in rows]
    for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        codes[place, :, :length] = _required(row.codes)
    codes_tensor = torch.from_numpy(codes.astype(np.int64))
    if "z" in columns:
        z = np.zeros((len(crops), frames, reader.spec.dim), np.float16)
        for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            z[place, :length] = _required(row.z)
        z_tensor = torch.from_numpy(z).float()
    else:
        z_tensor = space.embed(codes_tensor)
    return LatentBatch(z_tensor, codes_tensor, space, _mask(lengths, frames))


def audio_batch(reader: ShardReader, crops: Sequence[Crop], frames: int) -> AudioBatch:
    """Waveforms (B,1,S) of `frames` codec frames each; a shorter segment is padded with zeros."""
    batch = np.zeros((len(crops), 1, frames * reader.spec.hop), np.float32)
    for place, crop in enumerate(crops):
        audio = _required(reader.read(crop.segment, ["audio"], crop.start, frames).audio)
        batch[place, 0, : len(audio)] = audio
    return AudioBatch(torch.from_numpy(batch))


def _required(array: np.ndarray | None) -> np.ndarray:
    if array is None:
        raise ValueError("the shard row lacks a column that was asked for")
    return array


def _mask(lengths: Sequence[int], frames: int) -> Tensor | None:
    """True on real frames, (B,T); None when all are real."""
    if min(lengths) == frames:
        return None
    return torch.arange(frames)[None] < torch.tensor(lengths)[:, None]
