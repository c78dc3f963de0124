"""A few seconds of encoded tones, made without Ray."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from resyn.codec import load_codec
from resyn.data.commit import commit_unit
from resyn.data.decode import decode_unit
from resyn.data.encode import BatchShape, encode_unit
from resyn.data.job import Recipe, open_job
from resyn.data.plan import PlanSettings, read_rows
from resyn.storage import open_storage

COLUMNS = ("codes", "z")


def write_tiny_shards(
    folder: Path, codec_name: str = "encodec_24khz_random", columns: tuple[str, ...] = COLUMNS
) -> Path:
    """Shards of six clips of two seconds, below `folder`; returns the folder of the shards."""
    audio = folder / "audio"
    audio.mkdir(parents=True)
    time = np.arange(2 * 16_000) / 16_000
    for index in range(6):
        tone = 0.3 * np.sin(2 * np.pi * (120 + 40 * index) * time) * np.sin(5 * time) ** 2
        soundfile.write(audio / f"tone{index}.flac", tone.astype(np.float32), 16_000)
    return encode_folder(audio, folder / "shards", codec_name, columns)


def encode_folder(
    audio: Path, shards: Path, codec_name: str, columns: tuple[str, ...] = COLUMNS
) -> Path:
    """Shards, at `shards`, of the audio files below `audio`."""
    codec = load_codec(codec_name)
    recipe = Recipe(codec.spec, columns, PlanSettings("folder", 30.0, 30.0))
    source, output = open_storage(str(audio)), open_storage(str(shards))
    job = open_job(source, output, recipe, codec)
    for unit in job.pending():
        rows = read_rows(output, unit)
        decoded = decode_unit(source, rows, codec.spec.sample_rate, "audio" in columns)
        encoded = encode_unit(codec, decoded, columns, BatchShape(1, 1.0))
        commit_unit(output, unit.unit, encoded, codec.spec, columns)
    return shards
