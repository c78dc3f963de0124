"""The paper's findings are judged by numbers alone: each law holds, fails or stays open."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from resyn.evaluation.checks import Check, compare, ladder
from resyn.evaluation.findings import (
    INTRUSIVE,
    codebook_findings,
    data_findings,
    evaluation_findings,
    judge,
    method_findings,
)
from resyn.evaluation.metrics import Score
from resyn.evaluation.paper import load_paper
from resyn.evaluation.reproduction import table1_rows, table2_rows, write_findings
from resyn.evaluation.results import Results
from resyn.evaluation.statistics import student_interval
from resyn.evaluation.systems import System

SYSTEMS = (
    System(key="x1", group="baseline", title="First RVQ code", symbol="x1", num_codebooks=1),
    System(key="c2f-nfe7", group="method", title="Coarse-to-fine", method="c2f", nfe=7),
    System(key="onestep-nfe1", group="method", title="One-step", method="onestep", nfe=1),
    System(key="sb-nfe1", group="method", title="Bridge", method="sb", nfe=1),
    System(key="sb-nfe7", group="method", title="Bridge", method="sb", nfe=7),
    System(key="x1-8", group="topline", title="8 RVQ codes", symbol="x1:8", num_codebooks=8),
    System(key="z", group="topline", title="Embedding", symbol="z"),
)
#: One value per system, in their order, as the paper has them.
ESTOI = (0.56, 0.71, 0.75, 0.74, 0.73, 0.88, 0.95)
SHARPNESS = (0.8, 0.85, 0.7, 0.75, 0.9, 1.0, 1.0)


@pytest.fixture
def template(evaluated: tuple[Path, Results]) -> Results:
    return evaluated[1]


def made(template: Results, **columns: tuple[float | None, ...]) -> Results:
    """Results over three utterances that lie 0.1 apart, and systems as given by metric."""
    info = template.metrics["estoi"]
    metrics = {n: info.model_copy(update={"name": n, "title": n.upper()}) for n in columns}
    utterances = tuple(
        template.utterances[index].model_copy(
            update={
                "values": {
                    system.key: {
                        name: Score(value=None, reason="no weights")
                        if column[place] is None
                        else Score(value=column[place] + 0.1 * index + 0.001 * (index % 2) * place)
                        for name, column in columns.items()
                    }
                    for place, system in enumerate(SYSTEMS)
                }
            }
        )
        for index in range(3)
    )
    results = template.model_copy(
        update={"metrics": metrics, "systems": SYSTEMS, "utterances": utterances}
    )
    known = {
        system.key: {
            name: student_interval([v for v in results.column(system.key, name) if v is not None])
            for name in columns
        }
        for system in SYSTEMS
    }
    return results.model_copy(update={"aggregates": known})


def test_the_papers_own_order_confirms_the_papers_findings(template: Results) -> None:
    columns = dict.fromkeys(INTRUSIVE, ESTOI) | {"sharpness": SHARPNESS, "dnsmos_ovrl": SHARPNESS}
    results = made(template, **columns)
    found = list(method_findings(results))
    assert [finding.verdict for finding in found] == ["holds"] * 5
    assert found[0].evidence[1] == (
        "As in the paper: ESTOI 0.851 (One-step, NFE 1) against 0.841 (Bridge, NFE 1)."
    )
    assert next(codebook_findings(results)).verdict == "holds"


def test_a_comparison_that_was_not_made_leaves_a_finding_held_in_part(template: Results) -> None:
    columns = dict.fromkeys(INTRUSIVE[:3], ESTOI)
    best = next(method_findings(made(template, **columns)))
    assert best.verdict == "holds in part"
    assert best.evidence[-1] == "pesq was not evaluated."


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [
        ("HH", "holds"),
        ("HU", "holds in part"),
        ("HF", "holds in part"),
        ("HUF", "holds in part"),
        ("UU", "no clear difference"),
        ("UF", "fails in part"),
        ("FF", "does not hold"),
        ("", "cannot be told"),
    ],
)
def test_only_what_every_comparison_shows_clearly_holds_or_fails(checks: str, verdict: str) -> None:
    kinds = {"H": (True, True), "U": (True, False), "F": (False, True)}
    made = [Check(*kinds[letter], text=letter) for letter in checks]
    found = judge("Table 1", "a claim", made)
    assert found.verdict == verdict
    assert len(found.evidence) == len(checks)
    if "U" in checks:
        assert "No clear difference: U." in found.evidence


def test_a_rung_lower_by_chance_breaks_no_ladder(template: Results) -> None:
    systems = [system for system in SYSTEMS if system.key in ("x1", "c2f-nfe7", "x1-8", "z")]
    values = {"c2f-nfe7": 0.9, "x1-8": 0.8995, "x1": 0.5, "z": 0.97}
    column = tuple(values.get(system.key, 0.0) for system in SYSTEMS)
    results = made(template, estoi=column)
    checks = list(ladder(results, "estoi", list(pairwise(systems))))
    assert [check.standing for check in checks if isinstance(check, Check)] == [
        "As in the paper",
        "No clear difference",
    ]
    assert judge("Fig. 2", "it rises", checks).verdict == "holds in part"
    fallen = made(template, estoi=tuple(0.7 if v == 0.8995 else v for v in column))
    broken = judge("Fig. 2", "it rises", ladder(fallen, "estoi", list(pairwise(systems))))
    assert broken.evidence[0] == "Not so: ESTOI at x1:8 (0.802 after 1.000)."


def test_what_does_not_come_out_is_said_plainly(template: Results) -> None:
    blunt = made(template, estoi=(0.9, 0.8, 0.5, 0.4, 0.6, 0.3, 0.2), sharpness=SHARPNESS[::-1])
    found = list(method_findings(blunt))
    assert [finding.verdict for finding in found] == ["does not hold"] * 5
    assert all(finding.evidence[0].startswith("Not so: ") for finding in found)
    assert next(codebook_findings(blunt)).verdict == "does not hold"


def test_some_of_several_is_in_part_and_the_failures_come_first(template: Results) -> None:
    results = made(template, estoi=ESTOI, pesq=(1.0, 1.4, 1.2, 1.3, 1.1, 2.0, 2.5))
    best = next(iter(method_findings(results)))
    assert best.verdict == "holds in part"
    assert [text.split(":")[0] for text in best.evidence[:2]] == ["Not so", "As in the paper"]
    assert "PESQ" in best.evidence[0]


def test_a_metric_without_values_leaves_a_finding_open_with_its_reason(template: Results) -> None:
    results = made(template, estoi=ESTOI, wer=(None,) * 7)
    found = next(evaluation_findings(results))
    assert found.verdict == "cannot be told"
    assert found.evidence == ("sb-nfe4 and sim was not evaluated.", "sb-nfe16 was not evaluated.")
    assert compare(results, "wer", "sb-nfe1", "sb-nfe7") == "WER: no weights"
    assert judge("Table 1", "nothing", []).verdict == "cannot be told"


def test_a_difference_within_chance_is_called_unclear(template: Results) -> None:
    results = made(template, estoi=(0.56, 0.71, 0.7405, 0.74, 0.73, 0.88, 0.95))
    check = compare(results, "estoi", "onestep-nfe1", "sb-nfe1")
    assert not isinstance(check, str)
    assert check.held
    assert not check.clear
    assert check.standing == "No clear difference"
    assert judge("Table 1", "a draw", [check]).verdict == "no clear difference"


@pytest.mark.parametrize(("loss", "verdict"), [(0.3, "holds"), (0.01, "does not hold")])
def test_table_2_asks_who_loses_most(template: Results, loss: float, verdict: str) -> None:
    full = made(template, estoi=ESTOI)
    drops = (0, 0.05, loss, 0.02, 0.03, 0, 0)
    subset = made(template, estoi=tuple(a - b for a, b in zip(ESTOI, drops, strict=True)))
    found = next(data_findings(full, subset, ["estoi"]))
    assert found.verdict == verdict
    assert f"One-step, NFE 1 by −{loss:.3f}" in found.evidence[0]
    rows = {
        row.key: row for row in table2_rows(load_paper(), full, subset) if row.metric == "estoi"
    }
    change = rows["onestep-nfe1"].change
    assert change is not None
    assert change.mean == pytest.approx(-loss)
    assert rows["onestep-nfe1"].subset.paper is None


def test_two_sets_of_utterances_make_no_table_2(template: Results) -> None:
    full = made(template, estoi=ESTOI)
    other = full.model_copy(update={"utterances": full.utterances[:2]})
    with pytest.raises(ValueError, match="not of the same utterances"):
        table2_rows(load_paper(), full, other)


def test_latent_errors_on_two_scales_are_not_subtracted(template: Results) -> None:
    full = made(template, estoi=ESTOI, latent_error=ESTOI)
    scales = [model.model_copy(update={"latent_std_sha256": "other"}) for model in full.models]
    other = full.model_copy(update={"models": tuple(scales)})
    for subset, metrics in ((full, ["estoi", "latent_error"]), (other, ["estoi"])):
        rows = table2_rows(load_paper(), full, subset)
        assert list(dict.fromkeys(row.metric for row in rows)) == ["wer", "sim", *metrics]
        found = write_findings(["table2"], full, subset)
        told = " ".join(found[0].evidence)
        assert ("LATENT_ERROR changes" in told) == ("latent_error" in metrics)


def test_table_1_has_our_rows_and_the_papers(template: Results) -> None:
    paper, results = load_paper(), made(template, estoi=ESTOI)
    rows = {row.key: row for row in table1_rows(paper, results)}
    assert rows.keys() == {row.key for row in paper.table1} | {system.key for system in SYSTEMS}
    assert rows["sb-nfe16"].cells["estoi"].ours is None
    assert rows["sb-nfe16"].cells["estoi"].why == "not evaluated here"
    ours = rows["c2f-nfe7"].cells["estoi"].ours
    assert ours is not None
    assert ours.mean == pytest.approx(0.71 + 0.1 + 0.001 / 3)
    assert rows["c2f-nfe7"].cells["estoi"].paper == 0.71
    assert rows["c2f-nfe7"].cells["mos"].why == "no listener rated anything here"


def test_the_papers_numbers_have_its_bold_ones_as_their_best() -> None:
    paper = load_paper()
    methods = [row for row in paper.table1 if row.group == "method"]
    best = {
        name: (max if metric.better == "higher" else min)(
            (row for row in methods if name in row.values), key=lambda row: row.values[name]
        ).key
        for name, metric in paper.metrics.items()
    }
    one_step = dict.fromkeys(("si_snr", "estoi", "visqol", "wer"), "onestep-nfe1")
    assert best == {**one_step, "sim": "sb-nfe4", "mos": "sb-nfe16"}
    for row in paper.table2:
        in_table1 = paper.row(row.key)
        assert in_table1 is not None
        assert all(in_table1.values[name] == value for name, value in row.all.items())
