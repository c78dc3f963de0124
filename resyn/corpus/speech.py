"""From a voice and sentences to a finished recording at 16 kHz."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from resyn.corpus.espeak import ESPEAK_RATE, synthesize
from resyn.corpus.voices import Voice

CORPUS_RATE = 16000

_PEAK_LIMIT = 0.95


@dataclass(frozen=True, slots=True)
class Recording:
    """A finished recording.

    Attributes:
        samples: (S,) int16 at `CORPUS_RATE`; the peak is below 0.99 of full scale.
        spans: (start, end) of every sentence in seconds, sorted and disjoint.
        snr: level of the speech above the noise floor in dB.
    """

    samples: NDArray[np.int16]
    spans: tuple[tuple[float, float], ...]
    snr: float

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.samples) / CORPUS_RATE


def speak(voice: Voice, sentence: str, rng: random.Random) -> NDArray[np.float32]:
    """One sentence as the voice says it this time: (S,) float32 at `CORPUS_RATE`.

    Pitch and rate wander a little around the voice's own, drawn from `rng`. The level is 0.1 RMS,
    and the silence around the sentence is trimmed.
    """
    raw = synthesize(
        sentence,
        espeak_voice=voice.espeak_voice,
        pitch=voice.pitch + rng.randint(-3, 3),
        pitch_range=voice.pitch_range + rng.randint(-5, 5),
        rate=round(voice.rate * rng.uniform(0.95, 1.05) / voice.tract),
    )
    speech = _trim(raw.astype(np.float32) / np.float32(32768))
    speech = soxr.resample(speech, ESPEAK_RATE * voice.tract, CORPUS_RATE)
    speech = _tilt(speech, voice.tilt)
    return speech * np.float32(0.1 / np.sqrt(np.mean(np.square(speech, dtype=np.float64))))


def record(sentences: Sequence[NDArray[np.float32]], rng: random.Random) -> Recording:
    """Lay spoken sentences out with pauses, set the level and add a noise floor, all from `rng`.

    Speech lies at -28 to -20 dBFS RMS, less where its peaks need the room, and the floor at -70
    to -60 dBFS.
    """
    level = 10 ** (rng.uniform(-28, -20) / 20)
    pieces: list[NDArray[np.float32]] = [_silence(rng.uniform(0.1, 0.3))]
    spans: list[tuple[float, float]] = []
    position = len(pieces[0])
    for number, sentence in enumerate(sentences):
        if number:
            pieces.append(_silence(rng.uniform(0.3, 0.8)))
            position += len(pieces[-1])
        pieces.append(sentence * np.float32(10 ** (rng.uniform(-1.5, 1.5) / 20) * level / 0.1))
        spans.append((position / CORPUS_RATE, (position + len(sentence)) / CORPUS_RATE))
        position += len(sentence)
    pieces.append(_silence(rng.uniform(0.1, 0.3)))
    speech = np.concatenate(pieces)
    speech *= np.float32(min(1.0, _PEAK_LIMIT / np.abs(speech).max()))
    floor = 10 ** (rng.uniform(-70, -60) / 20)
    noise = np.random.default_rng(rng.getrandbits(64)).standard_normal(len(speech), np.float32)
    spoken = np.concatenate(pieces[1:-1:2])
    snr = 20 * np.log10(np.sqrt(np.mean(np.square(spoken, dtype=np.float64))) / floor)
    samples = np.rint((speech + noise * np.float32(floor)) * 32767).astype(np.int16)
    return Recording(samples, tuple(spans), float(snr))


def _silence(seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(seconds * CORPUS_RATE), np.float32)


def _trim(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without the silence around the speech, but for 20 ms that keep soft onsets whole."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    margin = ESPEAK_RATE // 50
    return samples[max(0, loud[0] - margin) : loud[-1] + margin]


def _tilt(samples: NDArray[np.float32], slope: float) -> NDArray[np.float32]:
    """Tilt the spectrum by `slope` dB per octave around 1 kHz, level below 100 Hz."""
    # Room behind the signal keeps the filter's ringing from wrapping onto its start.
    size = 1 << (len(samples) + CORPUS_RATE // 10).bit_length()
    frequencies = np.maximum(np.fft.rfftfreq(size, 1 / CORPUS_RATE), 100.0)
    gain = 10 ** (slope * np.log2(frequencies / 1000) / 20)
    return np.fft.irfft(np.fft.rfft(samples, size) * gain, size)[: len(samples)].astype(np.float32)
