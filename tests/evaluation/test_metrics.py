"""Laws of the metrics, and what they do when there is nothing to measure."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from resyn.evaluation.compare import Comparison, compare
from resyn.evaluation.metrics import AUDIO_METRICS, Metric, Pair, base
from resyn.evaluation.metrics.latent import latent_error
from resyn.evaluation.metrics.log_mel import log_mel_distance
from resyn.evaluation.metrics.si_snr import si_snr
from resyn.types import Audio
from tests.evaluation.fakes import speech_like

SPEECH = speech_like(1.5, 16_000)
NOISE = np.random.default_rng(1).standard_normal(len(SPEECH)).astype(np.float32)


def pair(reference: np.ndarray, estimate: np.ndarray) -> Pair:
    return Pair(reference, estimate, 16_000)


@pytest.mark.parametrize(
    ("name", "most", "tolerance"),
    [("estoi", 1.0, 1e-6), ("pesq", 4.644, 1e-3), ("visqol", 5.0, 1e-6), ("log_mel", 0.0, 0.0)],
)
def test_a_copy_has_the_best_value_and_noise_a_worse_one(
    name: str, most: float, tolerance: float
) -> None:
    metric = AUDIO_METRICS[name]
    copy = metric.score(pair(SPEECH, SPEECH)).value
    noisy = metric.score(pair(SPEECH, SPEECH + 0.05 * NOISE)).value
    assert copy == pytest.approx(most, abs=tolerance)
    assert noisy is not None
    assert metric.info(24_000).is_better(most, noisy)


def test_si_snr_is_the_energy_ratio_of_orthogonal_noise_at_any_scale() -> None:
    time = np.arange(16_000) / 16_000
    tone, other = np.sin(2 * np.pi * 100 * time), np.sin(2 * np.pi * 300 * time)
    for scale in (1.0, 0.01, -3.0):
        assert si_snr(pair(tone, scale * (tone + 0.1 * other))) == pytest.approx(20.0, abs=1e-6)


def test_si_snr_of_a_copy_has_no_bound_and_so_no_value() -> None:
    score = AUDIO_METRICS["si_snr"].score(pair(SPEECH, SPEECH.copy()))
    assert score.value is None
    assert "no upper bound" in str(score.reason)


def test_log_mel_distance_is_symmetric_and_measures_gain_in_nepers() -> None:
    loud = NOISE * 0.1
    there, back = (log_mel_distance(p) for p in (pair(SPEECH, loud), pair(loud, SPEECH)))
    assert there == pytest.approx(back, rel=1e-6)
    assert there > 0
    assert log_mel_distance(pair(loud, 2 * loud)) == pytest.approx(math.log(2), rel=1e-5)


def test_latent_error_counts_in_standard_deviations() -> None:
    z, std = torch.randn(7, 3), torch.tensor([0.5, 1.0, 4.0])
    assert latent_error(z, z, std).value == 0.0
    assert latent_error(z + 2 * std, z, std).value == pytest.approx(4.0, rel=1e-5)
    broken = latent_error(z * math.nan, z, std)
    assert broken.value is None
    assert "finite" in str(broken.reason)


@pytest.mark.parametrize("name", [n for n, m in AUDIO_METRICS.items() if m.files is None])
@pytest.mark.parametrize("silent", ["reference", "estimate"])
def test_silence_has_no_value_but_a_reason(name: str, silent: str) -> None:
    nothing = np.zeros_like(SPEECH)
    reference, estimate = (nothing, SPEECH) if silent == "reference" else (SPEECH, nothing)
    score = AUDIO_METRICS[name].score(pair(reference, estimate))
    assert score.value is None
    assert score.reason == f"the {silent} is silent"


def test_samples_that_are_not_finite_have_no_value() -> None:
    broken = SPEECH.copy()
    broken[5] = math.inf
    score = AUDIO_METRICS["log_mel"].score(pair(SPEECH, broken))
    assert score.value is None
    assert "not finite" in str(score.reason)


@pytest.mark.parametrize("name", ["estoi", "pesq", "visqol"])
def test_a_clip_too_short_for_a_metric_has_no_value(name: str) -> None:
    clip = SPEECH[800:2400]
    score = AUDIO_METRICS[name].score(pair(clip, clip))
    assert score.value is None
    assert score.reason


def test_a_missing_package_is_named_and_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "package_version", lambda package: None)
    score = AUDIO_METRICS["pesq"].score(pair(SPEECH, SPEECH))
    assert score.value is None
    assert "package pesq is not installed" in str(score.reason)
    assert AUDIO_METRICS["pesq"].info(24_000).version is None


def test_a_package_that_fails_or_returns_nan_leaves_a_reason() -> None:
    def fail(_: Pair) -> float:
        raise RuntimeError("no utterances detected")

    def make(compute: object) -> Metric:
        return Metric("m", "M", "", "higher", 2, "numpy", "", compute)  # type: ignore[arg-type]

    failed = make(fail).score(pair(SPEECH, SPEECH))
    assert failed.reason == "numpy: RuntimeError: no utterances detected"
    assert make(lambda _: math.nan).score(pair(SPEECH, SPEECH)).reason == "numpy returned nan"


def test_metrics_hear_at_their_own_rate() -> None:
    sound = Audio(speech_like(1.0, 24_000), 24_000)
    metrics = (AUDIO_METRICS["si_snr"], AUDIO_METRICS["log_mel"])
    scores = compare(Comparison(sound, Audio(0.5 * sound.samples, 24_000), metrics))
    assert scores["log_mel"].value == pytest.approx(math.log(2), abs=0.05)
    assert AUDIO_METRICS["si_snr"].info(24_000).sample_rate == 24_000
    assert AUDIO_METRICS["log_mel"].info(24_000).sample_rate == 16_000


def test_takes_of_different_length_are_a_fault_of_ours() -> None:
    sound = Audio(SPEECH, 16_000)
    with pytest.raises(ValueError, match="differ in shape"):
        compare(Comparison(sound, Audio(SPEECH[:-1], 16_000), (AUDIO_METRICS["si_snr"],)))
