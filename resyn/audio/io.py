"""From bytes or a URI to mono audio."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np

from resyn.audio.faults import AudioFault
from resyn.audio.resample import resample
from resyn.audio.stream import AudioStream
from resyn.errors import UserError
from resyn.storage import open_storage
from resyn.types import Audio

#: Speech below this rate (Hz) lacks the band that the codecs model.
LOWEST_RATE = 8_000
#: No container packs more samples into a byte: a constant FLAC frame holds 65,535 in 14 bytes.
MOST_SAMPLES_PER_BYTE = 5_000


@dataclass(frozen=True, slots=True)
class AudioBlocks:
    """Mono audio that comes in consecutive `blocks` (n,) float32, once, at `sample_rate` Hz."""

    sample_rate: int
    blocks: Iterator[np.ndarray]


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a file is: container `format`, `sample_rate` in Hz, `num_samples` per channel."""

    format: str
    sample_rate: int
    num_samples: int

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.num_samples / self.sample_rate


def probe(handle: IO[bytes], size: int) -> AudioInfo:
    """Read the header of a seekable file of `size` bytes.

    A FLAC that does not state its length (legal) is decoded to count its samples. Raises
    AudioFault `empty`, `magic`, `decode`, `truncated` or `sample_rate`.
    """
    with AudioStream(handle, size) as stream:
        if stream.sample_rate < LOWEST_RATE:
            detail = f"{stream.sample_rate} Hz is below {LOWEST_RATE} Hz"
            raise AudioFault("sample_rate", detail)
        num_samples = stream.declared_samples
        if num_samples is None:
            num_samples = _count(stream)
        elif num_samples > size * MOST_SAMPLES_PER_BYTE:
            detail = f"the header promises {num_samples} samples, too many for {size} bytes"
            raise AudioFault("truncated", detail)
        if stream.format == "WAV":
            _check_riff(handle, size)
        return AudioInfo(stream.format, stream.sample_rate, num_samples)


def _count(stream: AudioStream) -> int:
    while len(stream.read_block(2**62)):
        pass
    return stream.position


def _check_riff(handle: IO[bytes], size: int) -> None:
    """libsndfile shortens a cut WAV in silence; its RIFF size tells, if it was ever filled in."""
    handle.seek(4)
    promised = int.from_bytes(handle.read(4), "little")
    if promised not in (0, 0xFFFFFFFF) and promised + 8 > size + 1:
        raise AudioFault("truncated", f"the header promises {promised + 8} bytes, found {size}")


def decode(data: bytes, sample_rate: int | None = None) -> Audio:
    """A whole file in memory to mono audio, resampled when `sample_rate` is given.

    Raises AudioFault `empty`, `magic`, `decode`, `truncated` or `nonfinite`.
    """
    with AudioStream.of(data) as stream:
        blocks = list(_sound_blocks(stream))
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    audio = Audio(samples, stream.sample_rate)
    return audio if sample_rate is None else resample(audio, sample_rate)


def _sound_blocks(stream: AudioStream) -> Iterator[np.ndarray]:
    """All samples of `stream` in blocks. Raises AudioFault as `decode` does."""
    while len(block := stream.read_block(2**62)):
        if not np.isfinite(block).all():
            raise AudioFault("nonfinite", "samples that are NaN or infinite")
        yield block
    promised = stream.declared_samples
    if promised is not None and stream.position < promised:
        raise AudioFault("truncated", f"ends after sample {stream.position} of {promised}")
    stream.check_end()


def open_audio(uri: str) -> AudioBlocks:
    """The file at `uri` as mono audio that is read and decoded as its blocks are taken.

    Raises UserError that names the file, at once when it is missing or its header cannot be used,
    and from the blocks when what follows cannot.
    """
    folder, _, name = uri.rpartition("/")
    try:
        handle = open_storage(folder or ".").open(name)
        size = handle.seek(0, io.SEEK_END)
        handle.seek(0)
        stream = AudioStream(handle, size)
    except FileNotFoundError as error:
        raise UserError(f"{uri}: no such file") from error
    except AudioFault as fault:
        raise _unusable(uri, fault) from fault

    def blocks() -> Iterator[np.ndarray]:
        with handle, stream:
            try:
                yield from _sound_blocks(stream)
            except AudioFault as fault:
                raise _unusable(uri, fault) from fault

    return AudioBlocks(stream.sample_rate, blocks())


def _unusable(uri: str, fault: AudioFault) -> UserError:
    return UserError(f"{uri}: cannot be used ({fault.code}: {fault.detail})")


def read_audio(uri: str, sample_rate: int | None = None) -> Audio:
    """The file at `uri` as mono audio, resampled when `sample_rate` is given.

    Raises UserError that names the file, for a file that is missing or cannot be used.
    """
    folder, _, name = uri.rpartition("/")
    try:
        data = open_storage(folder or ".").read_bytes(name)
    except FileNotFoundError as error:
        raise UserError(f"{uri}: no such file") from error
    try:
        return decode(data, sample_rate)
    except AudioFault as fault:
        raise _unusable(uri, fault) from fault
