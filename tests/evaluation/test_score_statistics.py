"""Intervals against closed forms."""

from __future__ import annotations

import math

import pytest

from resyn.evaluation.statistics import paired_difference, student_interval


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
