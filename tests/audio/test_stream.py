"""Reading trusts the bytes, never the header."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import soundfile

from resyn.audio import AudioFault, AudioStream, decode, probe, stream

Tone = Callable[..., np.ndarray]


def encoded(samples: np.ndarray, rate: int, container: str, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=container, subtype=subtype)
    return buffer.getvalue()


def with_total_samples(flac: bytes, total: int) -> bytes:
    """The 36-bit field of STREAMINFO, from the low half of byte 21 on."""
    field = (flac[21] & 0xF0) << 32 | total
    return flac[:21] + field.to_bytes(5, "big") + flac[26:]


def code_of(data: bytes) -> str:
    with pytest.raises(AudioFault) as caught:
        decode(data)
    return caught.value.code


@pytest.mark.parametrize("container", ["FLAC", "WAV", "OGG", "MP3"])
def test_every_container_gives_its_samples(container: str, make_tone: Tone) -> None:
    data = encoded(make_tone(1.0), 16_000, container)
    info = probe(io.BytesIO(data), len(data))
    audio = decode(data)
    assert (info.format, info.sample_rate, info.num_samples) == (container, 16_000, 16_000)
    assert audio.samples.shape == (16_000,)
    assert audio.samples.dtype == np.float32


def test_pieces_equal_the_whole(make_tone: Tone) -> None:
    data = encoded(make_tone(3.0), 16_000, "MP3")
    whole = decode(data).samples
    with AudioStream.of(data) as stream:
        stream.skip(10_000)
        first, second = stream.read(7_001), stream.read(20_000)
    np.testing.assert_array_equal(np.concatenate([first, second]), whole[10_000:37_001])


def test_channels_are_averaged() -> None:
    """Case 11."""
    stereo = np.stack([np.full(8_000, 0.5), np.full(8_000, -0.25)], axis=1)
    np.testing.assert_allclose(decode(encoded(stereo, 16_000, "WAV")).samples, 0.125)


def test_refusals_by_code(make_tone: Tone) -> None:
    """Cases 1 to 4 and 12."""
    flac = encoded(make_tone(3.0), 16_000, "FLAC")
    flipped = bytearray(flac)
    flipped[len(flac) // 2] ^= 0x10
    wave = encoded(np.array([0.0, np.nan, 0.0] * 4_000), 16_000, "WAV", "FLOAT")
    assert code_of(b"") == "empty"
    assert code_of(b"a text named .flac") == "magic"
    assert code_of(flac[: len(flac) // 2]) == "truncated"
    assert code_of(flac[:60]) == "decode"
    assert code_of(bytes(flipped)) == "decode"
    assert code_of(wave) == "nonfinite"


def test_a_header_without_length_is_read_to_the_end(make_tone: Tone) -> None:
    """Case 6."""
    flac = encoded(make_tone(2.0), 16_000, "FLAC")
    unknown = with_total_samples(flac, 0)
    np.testing.assert_array_equal(decode(unknown).samples, decode(flac).samples)
    assert probe(io.BytesIO(unknown), len(unknown)).num_samples == 32_000


def test_a_header_without_length_is_read_in_capped_blocks(
    make_tone: Tone, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    plain = soundfile.SoundFile.read

    def read(self: soundfile.SoundFile, frames: int, **how: Any) -> np.ndarray:
        asked.append(frames)
        return plain(self, frames, **how)

    monkeypatch.setattr(soundfile.SoundFile, "read", read)
    monkeypatch.setattr(stream, "BLOCK_VALUES", 5_000)
    unknown = with_total_samples(encoded(make_tone(2.0), 16_000, "FLAC"), 0)
    assert probe(io.BytesIO(unknown), len(unknown)).num_samples == 32_000
    assert len(decode(unknown).samples) == 32_000
    assert max(asked) == 5_000


def test_a_header_that_promises_too_little_is_found_out_at_its_end(make_tone: Tone) -> None:
    """Case 5. Behind the end that it rightly promises, something else than audio may follow."""
    flac = encoded(make_tone(2.0), 16_000, "FLAC")
    short = with_total_samples(flac, 30_000)
    with pytest.raises(AudioFault, match="goes on after the 30000 samples of its header"):
        decode(short)
    with AudioStream.of(short) as stream:
        np.testing.assert_array_equal(stream.read(29_999), decode(flac).samples[:29_999])
        with pytest.raises(AudioFault, match="goes on after"):
            stream.skip(1)
    tagged = flac + b"TAG" + b"a title".ljust(125, b"\0")
    np.testing.assert_array_equal(decode(tagged).samples, decode(flac).samples)


def test_a_header_that_promises_too_much_allocates_nothing(make_tone: Tone) -> None:
    """Case 7."""
    inflated = with_total_samples(encoded(make_tone(2.0), 16_000, "FLAC"), 2**36 - 1)
    assert code_of(inflated) == "truncated"
    with pytest.raises(AudioFault, match="promises"):
        probe(io.BytesIO(inflated), len(inflated))


def test_a_cut_wave_file_and_a_low_rate_are_refused_by_the_probe(make_tone: Tone) -> None:
    wave = encoded(make_tone(1.0), 16_000, "WAV")[:10_000]
    with pytest.raises(AudioFault, match="promises"):
        probe(io.BytesIO(wave), len(wave))
    slow = encoded(make_tone(1.0, 4_000), 4_000, "WAV")
    with pytest.raises(AudioFault, match="4000 Hz"):
        probe(io.BytesIO(slow), len(slow))


class Broken(io.BytesIO):
    """A connection that breaks after half of the file."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() + (size or 0) > len(self.getvalue()) // 2:
            raise ConnectionResetError("by the other side")
        return super().read(size)


def test_a_broken_connection_is_no_truncated_file(make_tone: Tone) -> None:
    data = encoded(make_tone(3.0), 16_000, "FLAC")
    with AudioStream(Broken(data), len(data)) as stream:
        stream.skip(8_000)
        with pytest.raises(ConnectionResetError, match="by the other side"):
            stream.skip(40_000)
    with pytest.raises(ConnectionResetError):
        AudioStream(Broken(data[:4] + bytes(40)), 44)
