"""Decoding from the first sample on, in blocks of bounded size, trusting no header."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import IO, BinaryIO, Self, cast

import numpy as np
import soundfile

from resyn.audio.faults import AudioFault

#: Values (frames times channels) decoded at once: 4 MiB of float32.
BLOCK_VALUES = 2**20
#: libsndfile's word for "the header does not say how many samples there are".
UNKNOWN_LENGTH = 2**63 - 1
#: Where FLAC's STREAMINFO states the number of samples: 36 bits, of the first byte the low four.
_STATED = range(21, 26)


def detect_format(head: bytes) -> str:
    """The container that the first bytes announce, FLAC, WAV, OGG or MP3.

    Raises AudioFault `empty` or `magic`.
    """
    if not head:
        raise AudioFault("empty", "the file has no bytes")
    if head[:4] == b"fLaC":
        return "FLAC"
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "WAV"
    if head[:4] == b"OggS":
        return "OGG"
    if head[:3] == b"ID3" or (head[0] == 0xFF and len(head) > 1 and head[1] & 0xE0 == 0xE0):
        return "MP3"
    raise AudioFault("magic", f"starts with {head[:4]!r}: not FLAC, WAV, OGG or MP3")


class _Source:
    """What libsndfile reads from. It calls back through C, where an exception would be printed and
    forgotten, and a broken connection taken for the end of the file; so `error` keeps it.

    With `hide_length` the bytes are a FLAC file whose header does not say how long it is:
    libsndfile would end where a header says that is too small, and say nothing.
    """

    def __init__(self, handle: IO[bytes], hide_length: bool) -> None:
        self._handle = handle
        self._hide_length = hide_length
        self.error: Exception | None = None

    def read(self, count: int) -> bytes:
        if self.error is not None:
            return b""
        try:
            first = self._handle.tell()
            data = self._handle.read(count)
        except Exception as error:
            self.error = error
            return b""
        return _without_length(data, first) if self._hide_length else data

    def readinto(self, buffer: memoryview) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        # A damaged header may ask for a place before the file's start; libsndfile looks where it
        # has come to.
        with suppress(ValueError):
            self._handle.seek(offset, whence)
        return self.tell()

    def tell(self) -> int:
        return self._handle.tell()

    def check(self) -> None:
        """Raises what reading raised."""
        if self.error is not None:
            raise self.error


def _without_length(data: bytes, first: int) -> bytes:
    """FLAC's `data` from byte `first` on, with zero, which is "unknown", for its length."""
    if first >= _STATED.stop:
        return data
    changed = bytearray(data)
    for place in range(max(_STATED.start, first), min(_STATED.stop, first + len(data))):
        changed[place - first] &= 0xF0 if place == _STATED.start else 0
    return bytes(changed)


class _OneWaySoundFile(soundfile.SoundFile):
    """soundfile seeks after every read and clips reads to the header's length; this does not."""

    def seekable(self) -> bool:
        return False


class AudioStream:
    """Mono float32 samples of one file, in order.

    Always decodes from the file's first sample: a seek is inexact in MP3 and fails in damaged
    FLAC, and decoding costs a few thousandths of what encoding does. So the samples at a position
    are a function of the file's bytes alone. Multi-channel audio is averaged.

    `handle` must be seekable; it is read as the samples are, never as a whole. `size` is its
    length in bytes. Raises AudioFault `empty`, `magic` or `decode`, and what `handle` raises.
    """

    def __init__(self, handle: IO[bytes], size: int) -> None:
        self.size = size
        head = handle.read(_STATED.stop)
        self.format = detect_format(head)
        handle.seek(0)
        self._source = _Source(handle, self.format == "FLAC")
        try:
            self._file = _OneWaySoundFile(cast(BinaryIO, self._source))
        except soundfile.LibsndfileError as error:
            self._source.check()
            raise AudioFault("decode", f"{self.format} header: {error.error_string}") from error
        self._source.check()
        self.sample_rate = self._file.samplerate
        self.declared_samples: int | None = self._declared(head)
        """Samples per channel that the header promises; None when it does not say."""
        self.position = 0
        self._block = max(1, BLOCK_VALUES // self._file.channels)

    @classmethod
    def of(cls, data: bytes) -> AudioStream:
        """A stream over a whole file in memory."""
        return cls(io.BytesIO(data), len(data))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def _declared(self, head: bytes) -> int | None:
        if self.format == "FLAC":
            stated = int.from_bytes(head[_STATED.start : _STATED.stop]) & (1 << 36) - 1
            return stated or None
        return None if self._file.frames >= UNKNOWN_LENGTH else self._file.frames

    def read_block(self, most: int) -> np.ndarray:
        """Up to `most` further samples, (n,) float32; n is 0 at the end that the header promises.

        Raises AudioFault `truncated` when the bytes end within the stream, else `decode`; and
        what the handle raises.
        """
        if self.declared_samples is not None:
            most = min(most, self.declared_samples - self.position)
        return self._decode(min(most, self._block))

    def _decode(self, most: int) -> np.ndarray:
        try:
            frames = self._file.read(most, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            self._source.check()
            ended = self._source.tell() >= self.size
            detail = f"after sample {self.position}: {error.error_string}"
            raise AudioFault("truncated" if ended else "decode", detail) from error
        self._source.check()
        self.position += len(frames)
        return frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1)

    def read(self, num_samples: int) -> np.ndarray:
        """Exactly `num_samples` further samples, (num_samples,) float32.

        Raises AudioFault `truncated`, `decode` or `nonfinite`; `decode` also when they are the
        last that the header promises, and others follow.
        """
        blocks = list(self._blocks(num_samples))
        samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
        if not np.isfinite(samples).all():
            raise AudioFault("nonfinite", "samples that are NaN or infinite")
        return samples

    def skip(self, num_samples: int) -> None:
        """Decode and drop `num_samples`. Raises AudioFault as `read` does."""
        for _ in self._blocks(num_samples):
            pass

    def _blocks(self, num_samples: int) -> Iterator[np.ndarray]:
        wanted = num_samples
        while wanted:
            block = self.read_block(wanted)
            if not len(block):
                raise AudioFault("truncated", f"ends after sample {self.position}")
            wanted -= len(block)
            yield block
        self.check_end()

    def check_end(self) -> None:
        """Raises AudioFault `decode` when all that the header promises is read and more comes."""
        promised, more = self.declared_samples, False
        if self.position == promised:
            with suppress(AudioFault):  # No audio follows, but something else, like tags.
                more = len(self._decode(1)) > 0
        if more:
            raise AudioFault("decode", f"goes on after the {promised} samples of its header")
