"""Means, rates and their intervals over utterances."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from resyn.evaluation.metrics import Record, Score

CONFIDENCE = 0.95
#: Draws of the bootstrap: from one seed to the next its ends move by 1.5 % of the interval.
RESAMPLES = 2000


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


def pooled_interval(
    values: Sequence[float], words: Sequence[int], confidence: float = CONFIDENCE
) -> Interval | None:
    """A rate over a whole corpus from rates by utterance; None for no values.

    `mean` is the sum of errors over the sum of `words`: a long utterance counts for more.
    `half_width` is half of the percentile bootstrap interval over utterances (Bisani and Ney,
    2004); the draws are the same each time.
    """
    from scipy.stats import bootstrap

    count = len(values)
    if not count:
        return None
    sample = (np.asarray(values, dtype=float), np.asarray(words, dtype=float))
    mean = float(np.average(sample[0], weights=sample[1]))
    if count == 1:
        return Interval(mean=mean, half_width=None, count=1)

    def rate(values: np.ndarray, words: np.ndarray, axis: int = -1) -> np.ndarray:
        return (values * words).sum(axis) / words.sum(axis)

    low, high = bootstrap(
        sample,
        rate,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=100,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(mean=mean, half_width=float(high - low) / 2, count=count)


def summary_interval(scores: Iterable[Score], per_word: bool) -> Interval | None:
    """What a table says of a column of scores: their mean, or their rate over all words."""
    known = [(score.value, score.words or 0) for score in scores if score.value is not None]
    values, words = [value for value, _ in known], [count for _, count in known]
    return pooled_interval(values, words) if per_word else student_interval(values)


def paired_difference(
    values: Sequence[float | None],
    baseline: Sequence[float | None],
    words: Sequence[int] | None = None,
) -> Interval | None:
    """Interval of `values` minus `baseline` where both are known.

    Utterances differ far more among themselves than systems do on one utterance, so two systems
    are compared by their differences and not by whether their own intervals overlap. With `words`
    the values are errors per word, and the difference is that of the two rates over the corpus.
    """
    counts = [0] * len(values) if words is None else words
    known = [
        (a - b, count)
        for a, b, count in zip(values, baseline, counts, strict=True)
        if a is not None and b is not None
    ]
    gaps = [gap for gap, _ in known]
    return student_interval(gaps) if words is None else pooled_interval(gaps, [n for _, n in known])
