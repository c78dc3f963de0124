"""The audio and the spectrograms that the page shows."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np

from resyn.audio import resample, write_wav
from resyn.evaluation.metrics.log_mel import log_mel
from resyn.evaluation.results import Sample, Tile
from resyn.evaluation.synthesis import Take
from resyn.evaluation.systems import GROUND_TRUTH, System
from resyn.evaluation.utterances import Utterance
from resyn.storage import Storage
from resyn.types import Audio

FOLDER = "assets"
RANGE_DB = 80.0
"""Depth of the colour scale below the reference's loudest cell."""
_PIXELS_PER_BAND = 2
_SPECTROGRAM_RATE = 16_000
_HOP = 100
"""160 columns per second: as fine as the page shows them."""
_DB_PER_NEPER = 20 / np.log(10)


def choose_samples(count: int, wanted: int) -> frozenset[int]:
    """Indices of `wanted` of `count` utterances, evenly spread, the first included."""
    chosen = np.linspace(0, count, num=min(wanted, count), endpoint=False)
    return frozenset(int(index) for index in chosen)


def write_sample(
    storage: Storage,
    number: int,
    utterance: Utterance,
    systems: Sequence[System],
    takes: Mapping[str, Take],
) -> Sample:
    """Write the WAV and PNG of every system below `assets/NN/` and say where they lie.

    File names come from `number` and the systems' keys, never from what an input is called.
    """
    top = spectrogram_db(takes[GROUND_TRUTH].audio).max()
    tiles: list[Tile] = []
    for system in systems:
        audio = takes[system.key].audio
        stem = f"{FOLDER}/{number:02d}/{system.key}"
        write_wav(storage, f"{stem}.wav", audio)
        storage.write_bytes(f"{stem}.png", spectrogram_png(audio, top))
        tiles.append(Tile(system=system.key, audio=f"{stem}.wav", spectrogram=f"{stem}.png"))
    return Sample(utt_id=utterance.utt_id, tiles=tuple(tiles))


def spectrogram_db(audio: Audio) -> np.ndarray:
    """Mel spectrogram in dB, (bands, columns), 0 to 8 kHz."""
    heard = resample(audio, _SPECTROGRAM_RATE)
    return log_mel(heard.samples, heard.sample_rate, _HOP).numpy() * _DB_PER_NEPER


def spectrogram_png(audio: Audio, top_db: float) -> bytes:
    """The mel spectrogram as a paletted PNG: low bands below, `top_db` brightest."""
    from matplotlib import colormaps
    from PIL import Image

    depth = (spectrogram_db(audio) - top_db) / RANGE_DB + 1
    levels = np.rint(np.clip(depth, 0, 1) * 255).astype(np.uint8)[::-1]
    image = Image.fromarray(np.repeat(levels, _PIXELS_PER_BAND, axis=0), mode="P")
    colours = (colormaps["magma"](np.arange(256))[:, :3] * 255).astype(np.uint8)
    image.putpalette(colours.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
