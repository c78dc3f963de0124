"""Audio to 16-bit PCM, FLAC bytes and WAV files."""

from __future__ import annotations

import io

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


def _encode(samples: np.ndarray, sample_rate: int, container: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, format=container, subtype="PCM_16")
    return buffer.getvalue()
