"""Audio to 16-bit PCM, FLAC bytes and WAV files."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterable

import numpy as np
import soundfile

from resyn.storage import Storage
from resyn.types import Audio

_FULL_SCALE = 32_768


def to_pcm16(samples: np.ndarray) -> np.ndarray:
    """Float samples to int16 of the same shape, clipped to full scale; inverse of `from_pcm16`."""
    scaled = np.rint(samples * np.float32(_FULL_SCALE))
    return np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)


def from_pcm16(samples: np.ndarray) -> np.ndarray:
    """int16 samples to float32 in [-1, 1)."""
    return samples.astype(np.float32) / np.float32(_FULL_SCALE)


def encode_flac(samples: np.ndarray, sample_rate: int) -> bytes:
    """int16 samples (S,) to a FLAC file that `decode` reads back exactly."""
    return _encode(samples, sample_rate, "FLAC")


def write_wav(storage: Storage, name: str, audio: Audio) -> None:
    """Write `audio` as a 16-bit WAV file; samples beyond full scale are clipped."""
    storage.write_bytes(name, _encode(to_pcm16(audio.samples), audio.sample_rate, "WAV"))


def write_wav_pieces(
    storage: Storage, name: str, pieces: Iterable[np.ndarray], sample_rate: int
) -> int:
    """`write_wav` of consecutive `pieces` (·,), one at a time in memory; returns the samples.

    The file appears when it is complete. A local file of the process holds it until then.
    """
    samples = 0
    with tempfile.TemporaryFile() as whole:
        with soundfile.SoundFile(whole, "w", sample_rate, 1, "PCM_16", format="WAV") as made:
            for piece in pieces:
                made.write(to_pcm16(piece))
                samples += len(piece)
        whole.seek(0)
        storage.fs.makedirs(storage.root, exist_ok=True)
        # An object appears when its handle closes; a file while it is being written.
        partial = f"{name}.partial" if storage.is_local else name
        with storage.open(partial, "wb") as target:
            shutil.copyfileobj(whole, target)
        if storage.is_local:
            storage.fs.mv(storage.path(partial), storage.path(name))
    return samples


def _encode(samples: np.ndarray, sample_rate: int, container: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, format=container, subtype="PCM_16")
    return buffer.getvalue()
