"""DNSMOS, with the network that its package carries."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from resyn.audio import resample
from resyn.corpus.espeak import ESPEAK_RATE, synthesize
from resyn.evaluation.metrics import AUDIO_METRICS, Pair
from resyn.types import Audio

NAMES = ("dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak")


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """2.3 s, which doubled twice fill one window."""
    text = "The river was quiet that evening, and nobody spoke."
    spoken = synthesize(text, espeak_voice="en-us+f2", pitch=50, pitch_range=50, rate=160)
    heard = resample(Audio(spoken.astype(np.float32) / 32768, ESPEAK_RATE), 16_000)
    return heard.samples[2000 : 2000 + 36_800]


def scores(estimate: np.ndarray) -> dict[str, float]:
    found = {name: AUDIO_METRICS[name].score(Pair(estimate, estimate, 16_000)) for name in NAMES}
    assert [score.reason for score in found.values()] == [None] * len(NAMES)
    return {name: score.value or 0.0 for name, score in found.items()}


@pytest.mark.parametrize("seconds", [2.3, 10.4, 12.0])
def test_values_are_those_of_the_packages_own_code(
    speech: np.ndarray, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The package needs librosa for one more score, P.808, which is not compared.
    librosa = ModuleType("librosa")
    silence = SimpleNamespace(melspectrogram=lambda **_: np.zeros((120, 900)))
    vars(librosa).update(feature=silence, power_to_db=lambda spectrum, ref: spectrum)
    monkeypatch.setitem(sys.modules, "librosa", librosa)
    monkeypatch.delitem(sys.modules, "speechmos.dnsmos", raising=False)
    from speechmos import dnsmos

    clip = np.resize(speech, round(16_000 * seconds))
    theirs = dnsmos.run(clip, 16_000)
    ours = scores(clip)
    for name in NAMES:
        assert ours[name] == pytest.approx(theirs[f"{name.split('_')[1]}_mos"], abs=1e-3)


def test_noise_is_heard_in_the_background_first_of_all(speech: np.ndarray) -> None:
    noise = np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    clean, noisy = scores(speech), scores(speech + 0.5 * speech.std() * noise)
    fall = {name: clean[name] - noisy[name] for name in NAMES}
    assert min(fall.values()) > 0
    assert max(fall, key=lambda name: fall[name]) == "dnsmos_bak"
    assert scores(speech) == clean


def test_the_reference_plays_no_part_and_loud_samples_are_clipped(speech: np.ndarray) -> None:
    loud = 1.5 * speech / np.abs(speech).max()
    assert scores(loud) == scores(loud.clip(-1, 1))
    metric = AUDIO_METRICS["dnsmos_ovrl"]
    against = (speech, speech[::-1].copy())
    values = {metric.score(Pair(reference, speech, 16_000)).value for reference in against}
    assert len(values) == 1
