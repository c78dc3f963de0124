"""The quality–cost figure: every method and NFE, its cost and both intervals."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from resyn.evaluation.cost import cost_panels
from resyn.evaluation.figures import codebook_panels, nfe_panels
from resyn.evaluation.results import Results
from resyn.evaluation.statistics import Interval


@pytest.fixture
def results(evaluated: tuple[Path, Results]) -> Results:
    return evaluated[1]


def points(svg: str) -> int:
    """Intervals drawn: two lines each, one for either direction."""
    return svg.count('<g id="LineCollection')


def test_every_method_and_nfe_has_its_quality_and_its_cost(results: Results) -> None:
    panels = cost_panels(results)
    assert [panel.summary.split(":")[0] for panel in panels] == ["ESTOI", "Log-mel distance"]
    for panel, name in zip(panels, ("estoi", "log_mel"), strict=True):
        for system in results.systems:
            told = re.search(rf"{re.escape(system.label)} \S+ at RTF (\d+\.\d+)", panel.summary)
            known = results.aggregates[system.key].get("rtf")
            shown = system.group in ("method", "baseline") and known is not None
            assert (told is not None) == shown, system.key
            if told and known:
                assert float(told[1]) == pytest.approx(known.mean, abs=5e-4)
        numbers = re.findall(r"<text [^>]*>(\d+)</text>", panel.svg)
        for system in results.systems:
            assert system.nfe is None or str(system.nfe) in numbers, (name, system.key)


def test_intervals_are_drawn_in_both_directions(results: Results) -> None:
    """Each series is one collection of horizontal and one of vertical intervals."""
    lines = 3 + 1  # methods and baseline
    assert points(cost_panels(results)[0].svg) == 2 * lines


@pytest.mark.parametrize("better", ["visqol", "pesq"])
def test_the_third_panel_is_the_metric_nearest_to_a_listener(results: Results, better: str) -> None:
    names = ["pesq"] if better == "pesq" else ["pesq", "visqol"]
    info = results.metrics["estoi"]
    metrics = {name: info.model_copy(update={"name": name, "title": name}) for name in names}
    value = {name: Interval(mean=2.0, half_width=0.1, count=3) for name in names}
    more = results.model_copy(
        update={
            "metrics": {**results.metrics, **metrics},
            "aggregates": {key: {**known, **value} for key, known in results.aggregates.items()},
        }
    )
    assert [panel.summary.split(":")[0] for panel in cost_panels(more)][2:] == [better]


def test_without_a_measured_cost_there_is_no_figure(results: Results) -> None:
    metrics = {name: info for name, info in results.metrics.items() if name != "rtf"}
    assert cost_panels(results.model_copy(update={"metrics": metrics})) == []


def test_published_values_are_drawn_hollow_beside_ours(results: Results) -> None:
    published = {"estoi": {"x1": 0.56, "z": 0.95, "sb-nfe1": 0.74}}
    for draw in (codebook_panels, nfe_panels):
        plain, theirs = draw(results), draw(results, published=published)
        changed = [a.svg != b.svg for a, b in zip(plain, theirs, strict=True)]
        assert changed == ["ESTOI" in panel.title for panel in plain]
