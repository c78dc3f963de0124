"""Second step of a work unit: samples to tokens.

A segment's tokens depend on its own samples alone. Every batch has a static shape: the batch
size is constant, short batches being filled with silence, and a segment is padded on the right
with zeros to its own length rounded up to `bucket_seconds`. So the arithmetic a segment meets is
the same whatever its neighbours, the order or the worker, and its tokens are bit-identical on
one device; the frames of the padding are dropped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from resyn.audio.write import from_pcm16
from resyn.codec.base import Codec, CodecSpec
from resyn.data.schema import pack_codes, pack_latents

_TYPES = {"silent": pa.bool_(), "num_frames": pa.int32(), "codes": pa.binary(), "z": pa.binary()}
#: Beyond this float16 has no number.
_LARGEST_HALF = 65_504.0


@dataclass(frozen=True, slots=True)
class BatchShape:
    """Segments encoded at once, and the step to which their lengths are rounded up."""

    batch_size: int
    bucket_seconds: float

    def padded_samples(self, num_samples: int, spec: CodecSpec) -> int:
        """Length at the codec's rate to which a segment is padded; whole frames."""
        frames = max(1, round(self.bucket_seconds * spec.frame_rate))
        return -(-spec.num_frames(num_samples) // frames) * frames * spec.hop


def encode_unit(
    codec: Codec, table: pa.Table, columns: Collection[str], shape: BatchShape
) -> pa.Table:
    """Replace the `pcm` of a decoded unit by `silent`, `num_frames`, `codes` and `z`.

    A payload that `columns` does not name stays null, as does everything of a refused row.
    """
    samples = [
        np.frombuffer(buffer, np.int16) if (buffer := pcm.as_buffer()) is not None else None
        for pcm in table["pcm"]
    ]
    made: list[dict[str, Any]] = [{} for _ in samples]
    for length, indices in _batches(samples, codec.spec, shape):
        batch = torch.zeros(shape.batch_size, 1, length)
        for row, index in enumerate(indices):
            pcm = samples[index]
            assert pcm is not None
            batch[row, 0, : len(pcm)] = torch.from_numpy(from_pcm16(pcm))
        frames = codec.encode(batch)
        codes, z = frames.codes.cpu().numpy(), frames.z.float().cpu().numpy()
        for row, index in enumerate(indices):
            pcm = samples[index]
            assert pcm is not None
            num_frames = codec.spec.num_frames(len(pcm))
            made[index] = {"silent": not pcm.any()}
            made[index] |= _pack(codes[row, :, :num_frames], z[row, :num_frames], columns)
    table = table.drop_columns(["pcm"])
    for name, kind in _TYPES.items():
        table = table.append_column(name, pa.array([row.get(name) for row in made], kind))
    return table


def _batches(
    samples: list[np.ndarray | None], spec: CodecSpec, shape: BatchShape
) -> Iterator[tuple[int, list[int]]]:
    """(padded length, indices of at most `batch_size` segments of that length)."""
    buckets: dict[int, list[int]] = defaultdict(list)
    for index, pcm in enumerate(samples):
        if pcm is None:
            continue
        length = shape.padded_samples(len(pcm), spec)
        buckets[length].append(index)
        if len(buckets[length]) == shape.batch_size:
            yield length, buckets.pop(length)
    yield from buckets.items()


def _pack(codes: np.ndarray, z: np.ndarray, columns: Collection[str]) -> dict[str, Any]:
    """One row's payloads from codes (K,T) and z (T,D)."""
    row: dict[str, Any] = {"num_frames": codes.shape[-1]}
    if "codes" in columns:
        row["codes"] = pack_codes(codes)
    if "z" in columns:
        row["z"] = pack_latents(z.clip(-_LARGEST_HALF, _LARGEST_HALF))
    return row
