"""A batch holds the crops of its segments, padded with zeros where a segment ends."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from resyn.data.collate import audio_batch, latent_batch
from resyn.data.sampler import Crop
from resyn.data.shards import ShardReader
from resyn.types import LatentSpace

FRAMES = 60


@pytest.fixture(scope="module")
def reader(encoded: Path) -> ShardReader:
    return ShardReader(str(encoded / "out"))


@pytest.fixture(scope="module")
def crops(reader: ShardReader) -> list[Crop]:
    """One crop within each segment; the shortest segments are shorter than a crop."""
    lengths = reader.segments.num_frames
    assert lengths.min() < FRAMES < lengths.max()
    return [Crop(n, n, max(0, (int(length) - FRAMES) // 2)) for n, length in enumerate(lengths)]


def test_tokens(reader: ShardReader, crops: list[Crop]) -> None:
    space = LatentSpace(reader.codebooks, torch.zeros(128), torch.ones(128))
    batch = latent_batch(reader, crops, FRAMES, space)
    assert (batch.codes.dtype, batch.z.dtype) == (torch.int64, torch.float32)
    assert batch.mask is not None
    for crop, codes, z, mask in zip(crops, batch.codes, batch.z, batch.mask, strict=True):
        whole = reader.read(crop.segment, ["codes", "z"])
        assert whole.codes is not None
        assert whole.z is not None
        span = slice(crop.start, crop.start + FRAMES)
        kept = len(whole.z[span])
        assert mask.sum() == kept == mask[:kept].sum()
        assert codes[:, :kept].tolist() == whole.codes[:, span].tolist()
        assert z[:kept].tolist() == whole.z[span].tolist()
        assert not codes[:, kept:].any()
        assert not z[kept:].any()


def test_waveforms(reader: ShardReader, crops: list[Crop]) -> None:
    batch = audio_batch(reader, crops, FRAMES).audio
    assert batch.shape == (len(crops), 1, FRAMES * 320)
    for crop, (samples,) in zip(crops, batch, strict=True):
        whole = reader.read(crop.segment, ["audio"]).audio
        assert whole is not None
        expected = whole[crop.start * 320 : (crop.start + FRAMES) * 320]
        assert samples[: len(expected)].tolist() == expected.tolist()
        assert not samples[len(expected) :].any()
