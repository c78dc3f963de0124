"""What the paper found, and whether it comes out here: plain words drawn from paired numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Literal

from resyn.evaluation.checks import Check, Standing, beats_all, compare, ladder, why_missing
from resyn.evaluation.metrics import Record
from resyn.evaluation.numbers import format_value, join_words
from resyn.evaluation.results import Results
from resyn.evaluation.statistics import Interval, paired_difference
from resyn.evaluation.systems import LATENT

Verdict = Literal[
    "holds",
    "holds in part",
    "no clear difference",
    "fails in part",
    "does not hold",
    "cannot be told",
]
#: The gravest evidence first.
ORDER: tuple[Standing, ...] = ("Not so", "No clear difference", "As in the paper")
#: The paper's intrusive metrics (Table 1), and PESQ, which it does not use.
INTRUSIVE = ("si_snr", "estoi", "visqol", "pesq")
#: Beginning of the names of metrics that guess a listener's opinion without a reference. SQUIM has
#: no reference either, but guesses intrusive scores.
REFERENCE_FREE = "dnsmos"
#: Rows of Table 2, and of Table 1 where one stands for a method.
ROWS = ("c2f-nfe7", "onestep-nfe1", "sb-nfe1", "sb-nfe7")
#: Numbers of evaluations at which the paper's listeners preferred the bridge.
MANY = (7, 16)


class Finding(Record):
    """One of the paper's findings; `evidence` says what was measured here, or why nothing was."""

    source: str
    claim: str
    verdict: Verdict
    evidence: tuple[str, ...]


def judge(source: str, claim: str, checks: Iterable[Check | str]) -> Finding:
    """All checks together; a text stands for a check that could not be made, and says why.

    A finding holds only where every comparison was made, is beyond chance and comes out as it
    says, and does not hold only where every comparison that was made is clearly the other way.
    """
    checks = list(checks)
    made = [check for check in checks if isinstance(check, Check)]
    standings: list[Standing] = [check.standing for check in made]
    return Finding(
        source=source,
        claim=claim,
        verdict=_verdict(standings, open_=len(made) < len(checks)),
        evidence=(
            *(
                f"{standing}: {c.text}."
                for standing in ORDER
                for c in made
                if c.standing == standing
            ),
            *(f"{text}." for text in checks if isinstance(text, str)),
        ),
    )


def _verdict(standings: Sequence[Standing], open_: bool) -> Verdict:
    """`open_` says that some comparison could not be made."""
    if not standings:
        return "cannot be told"
    found = set(standings)
    if found == {"As in the paper"}:
        return "holds in part" if open_ else "holds"
    if found == {"Not so"}:
        return "does not hold"
    if found == {"No clear difference"}:
        return "no clear difference"
    return "holds in part" if "As in the paper" in found else "fails in part"


def codebook_findings(results: Results) -> Iterator[Finding]:
    """Of Fig. 2."""
    counted = [system for system in results.systems if system.num_codebooks]
    counted.sort(key=lambda system: system.num_codebooks or 0)
    pairs = list(pairwise([*counted, results.system(LATENT)]))
    claim = "Every further codebook improves the audio, and z, which no decoder saw, is best."
    ladders = (ladder(results, metric, pairs) for metric in ("si_snr", "estoi"))
    yield judge("Fig. 2", claim, chain.from_iterable(ladders))


def method_findings(results: Results) -> Iterator[Finding]:
    """Of Table 1."""
    methods = _methods(results)
    yield judge(
        "Table 1",
        "One-step regression is best on every intrusive metric.",
        (beats_all(results, metric, "onestep-nfe1", methods) for metric in INTRUSIVE),
    )
    yield _sharper(results, methods)
    yield judge(
        "Table 1",
        "The bridge is better than coarse-to-fine at the same number of evaluations.",
        (compare(results, metric, "sb-nfe7", "c2f-nfe7") for metric in INTRUSIVE),
    )
    most = max((s.nfe or 1 for s in results.systems if s.method == "sb"), default=MANY[-1])
    yield judge(
        "Table 1",
        "The bridge's intrusive scores fall as its evaluations rise.",
        (compare(results, metric, "sb-nfe1", f"sb-nfe{most}") for metric in INTRUSIVE),
    )
    yield judge(
        "Section 4",
        "Every method improves on the first code alone.",
        (
            compare(results, metric, key, results.baseline.key)
            for metric in INTRUSIVE[:2]
            for key in ROWS
            if key in methods
        ),
    )


def _sharper(results: Results, methods: Sequence[str]) -> Finding:
    """What listeners may prefer many evaluations for, as far as it can be computed."""
    free = [name for name in results.metrics if name.startswith(REFERENCE_FREE)]
    # Contrast alone is no opinion: without one the claim is not judged whole.
    free = free or ["dnsmos_ovrl"]
    many = [nfe for nfe in MANY if f"sb-nfe{nfe}" in methods] or [MANY[0]]
    return judge(
        "Table 1, MOS",
        "With more evaluations the bridge sounds better than one-step regression, which blurs: "
        "its spectrograms keep more of the reference's contrast.",
        (
            compare(results, metric, f"sb-nfe{nfe}", "onestep-nfe1")
            for metric in ("sharpness", *free)
            for nfe in many
        ),
    )


def evaluation_findings(results: Results) -> Iterator[Finding]:
    """Of Fig. 3."""
    yield judge(
        "Fig. 3",
        "More evaluations bring the bridge nearer to the speaker and further from the words.",
        [
            compare(results, "sim", "sb-nfe4", "sb-nfe1"),
            compare(results, "wer", "sb-nfe1", "sb-nfe16"),
        ],
    )


def data_findings(full: Results, subset: Results, metrics: Sequence[str]) -> Iterator[Finding]:
    """Of Table 2: `full` and `subset` are evaluations of the same utterances."""
    yield judge(
        "Table 2",
        "With far less data one-step regression loses more than the iterative methods.",
        (_loses_most(full, subset, metric, "onestep-nfe1") for metric in metrics),
    )


def change(full: Results, subset: Results, key: str, metric: str) -> list[float | None]:
    """A system's values on the subset minus those on all data, by utterance."""
    pairs = zip(subset.column(key, metric), full.column(key, metric), strict=True)
    return [None if a is None or b is None else a - b for a, b in pairs]


def mean_change(full: Results, subset: Results, key: str, metric: str) -> Interval | None:
    """How much higher a system's value is on the subset; None where either has none."""
    columns = (results.column(key, metric) for results in (subset, full))
    return paired_difference(*columns, words=subset.words(key, metric))


def _loses_most(full: Results, subset: Results, metric: str, key: str) -> Check | str:
    """Whether `key` loses more on `metric` than every other method that both evaluated."""
    if metric not in full.metrics or metric not in subset.metrics:
        return f"{metric} was not evaluated"
    info = full.metrics[metric]
    worse = -1.0 if info.better == "higher" else 1.0
    keys = [name for name in _methods(subset) if name in _methods(full)]
    intervals = {name: mean_change(full, subset, name, metric) for name in keys}
    means = {name: one.mean for name, one in intervals.items() if one is not None}
    losses = {name: worse * mean for name, mean in means.items()}
    rivals = {name: loss for name, loss in losses.items() if name != key}
    if key not in losses or not rivals:
        return f"{info.title}: {why_missing(subset, metric, key)}"
    rival = max(rivals, key=lambda name: rivals[name])
    both = (change(full, subset, name, metric) for name in (key, rival))
    gap = paired_difference(*both, words=subset.words(key, metric))
    labels = {name: full.system(name).label for name in means}
    signs = {name: "+" if mean > 0 else "" for name, mean in means.items()}
    told = [f"{labels[n]} by {signs[n]}{format_value(means[n], info)}" for n in means]
    clear = gap is not None and gap.excludes_zero
    return Check(losses[key] > rivals[rival], clear, f"{info.title} changes for {join_words(told)}")


def _methods(results: Results) -> list[str]:
    return [system.key for system in results.systems if system.group == "method"]
