"""Intervals against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from resyn.evaluation.metrics import Score
from resyn.evaluation.statistics import (
    paired_difference,
    pooled_interval,
    student_interval,
    summary_interval,
)


def test_interval_of_four_values_is_students() -> None:
    interval = student_interval([1.0, 2.0, 3.0, 4.0])
    assert interval is not None
    assert interval.mean == 2.5
    # t(0.975; 3) = 3.182446, standard deviation sqrt(5/3), four values.
    assert interval.half_width == pytest.approx(3.182446 * math.sqrt(5 / 3) / 2, rel=1e-6)


def test_one_value_has_no_interval_and_none_no_mean() -> None:
    single = student_interval([7.0])
    assert single is not None
    assert (single.mean, single.half_width, single.count) == (7.0, None, 1)
    assert not single.excludes_zero
    assert student_interval([]) is None


def test_pairs_see_what_separate_intervals_hide() -> None:
    baseline = [1.0, 5.0, 9.0, None, 13.0]
    better = [1.1, 5.1, 9.2, 4.0, 13.1]
    gap = paired_difference(better, baseline)
    assert gap is not None
    assert gap.count == 4
    assert gap.mean == pytest.approx(0.125)
    assert gap.excludes_zero


def test_a_rate_counts_words_and_not_utterances() -> None:
    scores = [Score(value=0.0, words=9), Score(value=None), Score(value=100.0, words=1)]
    rate, mean = summary_interval(scores, True), summary_interval(scores, False)
    assert rate is not None
    assert mean is not None
    assert (rate.mean, rate.count) == (pytest.approx(10.0), 2)
    assert mean.mean == pytest.approx(50.0)
    # Of two utterances a bootstrap draws each twice with probability 1/4, so 95 % span all.
    assert rate.half_width == pytest.approx(50.0)
    assert pooled_interval([], []) is None
    assert pooled_interval([3.0], [2]) == student_interval([3.0])


def test_the_bootstrap_agrees_with_the_delta_method_on_many_utterances() -> None:
    random = np.random.default_rng(3)
    words = random.integers(5, 30, 400)
    rates = random.binomial(words, 0.2) / words
    interval = pooled_interval(rates.tolist(), words.tolist())
    assert interval is not None
    # Var of a ratio of means: mean square of (errors - rate * words), over n times mean words².
    residual = words * (rates - interval.mean)
    error = math.sqrt(np.mean(residual**2) / len(words)) / words.mean()
    assert interval.half_width == pytest.approx(1.96 * error, rel=0.1)
    assert pooled_interval(rates.tolist(), words.tolist()) == interval


def test_a_difference_of_rates_is_paired_and_counts_words() -> None:
    values, baseline, words = [10.0, 30.0, 50.0, None], [20.0, 45.0, 52.0, 1.0], [10, 20, 5, 0]
    gap = paired_difference(values, baseline, words)
    assert gap is not None
    assert gap.mean == pytest.approx((-10 * 10 - 15 * 20 - 2 * 5) / 35)
    assert gap.count == 3
    assert gap.excludes_zero
