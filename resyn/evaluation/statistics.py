"""Means and Student intervals over utterances."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from resyn.evaluation.metrics import Record

CONFIDENCE = 0.95


class Interval(Record):
    """`mean` ± `half_width` over `count` values; the half-width of one value is unknown: None."""

    mean: float
    half_width: float | None
    count: int

    @property
    def excludes_zero(self) -> bool:
        """True when the interval is known and lies on one side of zero."""
        return self.half_width is not None and abs(self.mean) > self.half_width


def student_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Mean and two-sided Student t interval of independent values; None for no values."""
    from scipy.stats import t as student

    count = len(values)
    if not count:
        return None
    mean = float(np.mean(values))
    if count == 1:
        return Interval(mean=mean, half_width=None, count=1)
    standard_error = float(np.std(values, ddof=1)) / math.sqrt(count)
    quantile = float(student.ppf((1 + confidence) / 2, count - 1))
    return Interval(mean=mean, half_width=quantile * standard_error, count=count)


def paired_difference(
    values: Sequence[float | None], baseline: Sequence[float | None]
) -> Interval | None:
    """Interval of `values` minus `baseline` where both are known.

    Utterances differ far more among themselves than systems do on one utterance, so two systems
    are compared by their differences and not by whether their own intervals overlap.
    """
    pairs = zip(values, baseline, strict=True)
    return student_interval([a - b for a, b in pairs if a is not None and b is not None])
