"""Recordings: levels, the noise floor, and spans that tell speech from pauses."""

import random

import numpy as np
import pytest

from resyn.corpus import voices
from resyn.corpus.speech import CORPUS_RATE, Recording, record, speak

_SENTENCES = ("Spring came late that year.", "The lamps were low.", "Nobody asked him why.")


def _recording(seed: str) -> Recording:
    rng = random.Random(seed)
    voice = rng.choice(voices("train"))
    return record([speak(voice, sentence, rng) for sentence in _SENTENCES], rng)


def _decibels(samples: np.ndarray) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(np.square(samples / 32768.0)))))


@pytest.mark.parametrize("seed", ["a", "b", "c", "d"])
def test_speech_and_pauses_have_their_levels(seed: str) -> None:
    recording = _recording(seed)
    edges = np.rint(np.array(recording.spans) * CORPUS_RATE).astype(int)
    spoken = np.concatenate([recording.samples[start:end] for start, end in edges])
    pauses = [recording.samples[a:b] for a, b in zip(edges[:-1, 1], edges[1:, 0], strict=True)]
    assert len(recording.spans) == len(_SENTENCES)
    assert -31 < _decibels(spoken) < -18
    assert -71 < _decibels(np.concatenate(pauses)) < -59
    assert np.abs(recording.samples.astype(int)).max() < 0.99 * 32768
    measured = _decibels(spoken) - _decibels(np.concatenate(pauses))
    assert recording.snr == pytest.approx(measured, abs=1.0)


def test_the_seed_decides_every_sample() -> None:
    np.testing.assert_array_equal(_recording("a").samples, _recording("a").samples)
    assert not np.array_equal(_recording("a").samples, _recording("b").samples)


def test_loud_peaks_are_held_below_full_scale() -> None:
    click = np.zeros(CORPUS_RATE, np.float32)
    click[100] = 50.0
    recording = record([click], random.Random(0))
    assert 0.9 * 32768 < np.abs(recording.samples.astype(int)).max() < 0.99 * 32768
