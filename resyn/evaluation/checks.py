"""Comparisons of systems, utterance by utterance: what the paper's findings are judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from resyn.evaluation.numbers import format_value, join_words
from resyn.evaluation.results import Results
from resyn.evaluation.statistics import paired_difference
from resyn.evaluation.systems import System

Standing = Literal["As in the paper", "No clear difference", "Not so"]


@dataclass(frozen=True)
class Check:
    """A comparison that a finding predicts to come out `held`; `clear` if beyond chance.

    `text` tells the numbers.
    """

    held: bool
    clear: bool
    text: str

    @property
    def standing(self) -> Standing:
        """In words; what may be chance speaks neither for the finding nor against it."""
        if not self.clear:
            return "No clear difference"
        return "As in the paper" if self.held else "Not so"


def compare(results: Results, metric: str, key: str, other: str) -> Check | str:
    """Whether system `key` is better than `other`, utterance by utterance, or why that is open."""
    systems = {system.key: system for system in results.systems}
    absent = [name for name in (key, other) if name not in systems]
    if absent or metric not in results.metrics:
        what = join_words([*absent, *([] if metric in results.metrics else [metric])])
        return f"{what} was not evaluated"
    info = results.metrics[metric]
    columns = (results.column(name, metric) for name in (key, other))
    gap = paired_difference(*columns, words=results.words(key, metric))
    pair = [results.aggregates[name].get(metric) for name in (key, other)]
    if gap is None or pair[0] is None or pair[1] is None:
        return f"{info.title}: {why_missing(results, metric, key, other)}"
    values = [format_value(interval.mean, info) for interval in pair if interval is not None]
    text = f"{info.title} {values[0]} ({systems[key].label}) against {values[1]} "
    text += f"({systems[other].label})"
    return Check(info.is_better(gap.mean, 0.0), gap.excludes_zero, text)


def why_missing(results: Results, metric: str, *keys: str) -> str:
    """The first reason given for a value that is missing."""
    for utterance in results.utterances:
        for key in keys:
            score = utterance.values.get(key, {}).get(metric)
            if score is not None and score.reason:
                return score.reason
    return "no value"


def beats_all(results: Results, metric: str, key: str, methods: Sequence[str]) -> Check | str:
    """`key` against the best of the other methods."""
    info = results.metrics.get(metric)
    values = {name: results.aggregates[name].get(metric) for name in methods if name != key}
    known = {name: interval.mean for name, interval in values.items() if interval is not None}
    if info is None or not known:
        return compare(results, metric, key, next(iter(values), "another method"))
    choose = max if info.better == "higher" else min
    return compare(results, metric, key, choose(known, key=lambda name: known[name]))


def ladder(
    results: Results, metric: str, pairs: Sequence[tuple[System, System]]
) -> Iterator[Check | str]:
    """Whether every rung is better than the one before: one check for the rungs of each standing.

    So a rung that chance alone may have lowered breaks nothing.
    """
    made = [compare(results, metric, after.key, before.key) for before, after in pairs]
    checks = [check for check in made if isinstance(check, Check)]
    if len(checks) < len(made):
        yield next(text for text in made if isinstance(text, str))
        return
    info = results.metrics[metric]
    for standing in dict.fromkeys(check.standing for check in checks):
        rungs = [i for i, check in enumerate(checks) if check.standing == standing]
        told = [_rung(results, metric, *pairs[i]) for i in rungs]
        first = checks[rungs[0]]
        yield Check(first.held, first.clear, f"{info.title} at {join_words(told)}")


def _rung(results: Results, metric: str, before: System, after: System) -> str:
    """`x1:2 (0.84 after 0.62)`."""
    values = [results.aggregates[system.key].get(metric) for system in (after, before)]
    told = [format_value(one.mean, results.metrics[metric]) for one in values if one is not None]
    return f"{after.symbol} ({' after '.join(told)})"
