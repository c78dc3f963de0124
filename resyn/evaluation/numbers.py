"""Numbers and lists as text."""

from __future__ import annotations

from collections.abc import Sequence

from resyn.evaluation.metrics import MetricInfo
from resyn.evaluation.statistics import Interval

MISSING = "–"


def format_value(value: float, info: MetricInfo) -> str:
    """With the metric's decimals and a true minus sign: `−5.39`."""
    text = f"{value:.{info.digits}f}"
    zero = f"{0:.{info.digits}f}"
    return (zero if text == f"-{zero}" else text).replace("-", "−")


def format_interval(interval: Interval | None, info: MetricInfo) -> str:
    """`−5.39 ± 0.21`, without the second part for a single value, or a dash."""
    if interval is None:
        return MISSING
    half_width = format_half_width(interval, info)
    return format_value(interval.mean, info) + (f" {half_width}" if half_width else "")


def format_half_width(interval: Interval, info: MetricInfo) -> str:
    """`± 0.21`, or nothing where it is unknown."""
    if interval.half_width is None:
        return ""
    return f"± {interval.half_width:.{info.digits}f}"


def join_words(words: Sequence[str]) -> str:
    """`a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
