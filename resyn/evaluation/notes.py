"""Plain sentences drawn from the numbers: what holds, and above all what does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from resyn.evaluation.numbers import format_value, join_words
from resyn.evaluation.results import Note, Results
from resyn.evaluation.statistics import Interval, paired_difference
from resyn.evaluation.systems import GROUND_TRUTH, LATENT, System


@dataclass(frozen=True)
class Verdict:
    """A system against the baseline on one metric; `difference` is paired by utterance."""

    metric: str
    value: Interval
    baseline: Interval
    difference: Interval
    better: bool

    @property
    def clear(self) -> bool:
        """True when the interval of the paired difference excludes zero."""
        return self.difference.excludes_zero


def verdicts(results: Results, system: System) -> list[Verdict]:
    """`system` against baseline x1 on every quality metric that both have."""
    found: list[Verdict] = []
    baseline = results.baseline.key
    for name, info in results.metrics.items():
        value = results.aggregates[system.key].get(name)
        other = results.aggregates[baseline].get(name)
        column, below = (results.column(key, name) for key in (system.key, baseline))
        gap = paired_difference(column, below, results.words(system.key, name))
        if info.is_cost or value is None or other is None or gap is None:
            continue
        better = info.is_better(gap.mean, 0.0)
        found.append(Verdict(name, value, other, gap, better))
    return found


def falls_below(results: Results, system: System) -> frozenset[str]:
    """Names of the metrics on which `system` is worse than baseline x1."""
    return frozenset(verdict.metric for verdict in verdicts(results, system) if not verdict.better)


def write_notes(results: Results) -> Iterator[Note]:
    """All notes, the gravest first."""
    if results.codec.random_weights:
        text = f"The codec {results.codec.name} has random weights: no value here says anything."
        yield Note(kind="warning", text=text)
    yield from _scale_notes(results)
    methods = [system for system in results.systems if system.group == "method"]
    yield from (note for system in methods for note in _method_notes(results, system))
    yield from _order_notes(results)
    yield from _gap_notes(results)
    for clip in results.skipped:
        yield Note(kind="missing", text=f"Skipped {clip.source}: {clip.reason}.")


def _method_notes(results: Results, system: System) -> Iterator[Note]:
    """Where a method wins, in brief, and where it loses, with the numbers."""
    found = verdicts(results, system)
    symbol = results.baseline.symbol
    won = [verdict for verdict in found if verdict.better]
    lost = [verdict for verdict in found if not verdict.better]
    if won:
        titles = join_words([results.metrics[verdict.metric].title for verdict in won])
        unsure = [results.metrics[v.metric].title for v in won if not v.clear]
        doubt = f", though not clearly on {join_words(unsure)}" if unsure else ""
        doubt = ", though not clearly" if len(unsure) == len(won) else doubt
        where = "every quality metric" if not lost else titles
        text = f"{system.label}: better than {symbol} on {where}{doubt}."
        yield Note(kind="above", text=text, system=system.key)
    if lost:
        told = join_words([_told(results, verdict) for verdict in lost])
        text = f"{system.label}: below {symbol} on {told}."
        yield Note(kind="below", text=text, system=system.key)


def _told(results: Results, verdict: Verdict) -> str:
    info = results.metrics[verdict.metric]
    value, other = (format_value(i.mean, info) for i in (verdict.value, verdict.baseline))
    doubt = "" if verdict.clear else ", no clear difference"
    return f"{info.title} ({value} against {other}{doubt})"


def _order_notes(results: Results) -> Iterator[Note]:
    """Whether x1 < x1:K < z on every metric, and SI-SNR and ESTOI rise with every codebook."""
    most = next(system for system in results.systems if system.group == "topline")
    ladder = [results.baseline, most, results.system(LATENT)]
    yield from _ordered(results, ladder, "The toplines")
    counted = sorted(
        (system for system in results.systems if system.num_codebooks),
        key=lambda system: system.num_codebooks or 0,
    )
    if len(counted) > 2:
        yield from _ordered(results, [*counted, ladder[-1]], "Codebook by codebook, the codec")


def _ordered(results: Results, ladder: Sequence[System], subject: str) -> Iterator[Note]:
    chain = " < ".join(system.symbol for system in ladder)
    kept: list[str] = []
    broken: list[str] = []
    for name, info in results.metrics.items():
        rungs = [results.aggregates[system.key].get(name) for system in ladder]
        means = [rung.mean for rung in rungs if rung is not None]
        if info.is_cost or len(means) < len(ladder):
            continue
        rising = all(info.is_better(b, a) for a, b in pairwise(means))
        values = ", ".join(format_value(mean, info) for mean in means)
        (kept if rising else broken).append(info.title if rising else f"{info.title} ({values})")
    if kept:
        yield Note(kind="ordered", text=f"{subject}: ordered {chain} on {join_words(kept)}.")
    if broken:
        text = f"{subject}: not ordered {chain} on {join_words(broken)}."
        yield Note(kind="unordered", text=text)


def _gap_notes(results: Results) -> Iterator[Note]:
    """Values that could not be had, by metric and reason; the ground truth's are expected."""
    by_reason: dict[tuple[str, str], set[str]] = {}
    counts: dict[tuple[str, str], int] = {}
    scored = [system for system in results.systems if system.key != GROUND_TRUTH]
    for utterance in results.utterances:
        for system in scored:
            for name, score in utterance.values[system.key].items():
                if score.value is None:
                    key = (name, score.reason or "no reason given")
                    by_reason.setdefault(key, set()).add(system.label)
                    counts[key] = counts.get(key, 0) + 1
    for (name, reason), labels in by_reason.items():
        measured = {s.label for s in scored if name in results.aggregates[s.key]}
        where = "every system" if labels == measured else join_words(sorted(labels))
        title = results.metrics[name].title
        text = f"{title} has no value {counts[name, reason]} times ({where}): {reason}."
        yield Note(kind="missing", text=text)


def _scale_notes(results: Results) -> Iterator[Note]:
    if len({model.latent_std_sha256 for model in results.models}) > 1:
        text = (
            "The models were trained on differently scaled latents; the latent error of every row "
            f"uses the scale of {results.models[0].uri}."
        )
        yield Note(kind="warning", text=text)
