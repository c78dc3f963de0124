"""Quality against cost: what a user needs to choose a method and its evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from resyn.evaluation.drawing import (
    BASELINE,
    MARKERS,
    SERIES,
    Panel,
    draw_panel,
    metric_heading,
)
from resyn.evaluation.figures import method_series
from resyn.evaluation.metrics import MetricInfo, rtf
from resyn.evaluation.results import Results
from resyn.evaluation.statistics import Interval
from resyn.evaluation.systems import System

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Of a panel, in inches: room for the labels.
HEIGHT = 3.2
#: A panel each, where measured.
COST_FIGURE_METRICS = ("estoi", "log_mel")
#: Nearest to a listener first; the first that has values gets the third panel.
PERCEPTUAL_METRICS = ("dnsmos_ovrl", "sim", "wer", "visqol", "pesq")


def cost_panels(results: Results) -> list[Panel]:
    """Quality against real-time factor, one panel per metric; none where no cost was measured.

    Every method and NFE is a point with its 95 % intervals in both directions and its NFE beside
    it; the first RVQ code, which costs a decoder alone, stands for comparison.
    """
    if rtf.NAME not in results.metrics or not method_series(results):
        return []
    names = [name for name in COST_FIGURE_METRICS if _measured(results, name)]
    perceptual = (name for name in PERCEPTUAL_METRICS if _measured(results, name))
    names += [name for name in [next(perceptual, None)] if name is not None]
    return [_cost_panel(results, results.metrics[name]) for name in names]


def _measured(results: Results, name: str) -> bool:
    """True when some method has a value."""
    methods = (system for system in results.systems if system.group == "method")
    return any(results.aggregates[system.key].get(name) is not None for system in methods)


def _cost_panel(results: Results, info: MetricInfo) -> Panel:
    baseline = results.baseline
    told: list[str] = []

    def points(systems: Sequence[System]) -> list[tuple[System, Interval, Interval]]:
        pairs = [
            (s, _interval(results, s, rtf.NAME), _interval(results, s, info.name)) for s in systems
        ]
        return [(system, cost, value) for system, cost, value in pairs if cost and value]

    def draw(axes: Axes) -> None:
        axes.set_xscale("log")
        for one in method_series(results):
            found = points(one.systems)
            colour, marker = SERIES[one.slot - 1], MARKERS[one.slot - 1]
            _cross(axes, found, colour, f"{marker}-", [str(s.nfe) for s, _, _ in found])
        _cross(axes, points([baseline]), BASELINE, "D", [baseline.symbol])
        _plain_ticks(axes)
        axes.set_xlabel("RTF: seconds of computing per second of speech")
        axes.margins(x=0.12, y=0.12)

    methods = [system for system in results.systems if system.group == "method"]
    for system, cost, value in points([baseline, *methods]):
        told.append(f"{system.label} {value.mean:.{info.digits}f} at RTF {cost.mean:.3f}")
    summary = f"{info.title}: {', '.join(told)}"
    return draw_panel(metric_heading(info), summary, f"cost-{info.name}", draw, HEIGHT)


def _interval(results: Results, system: System, metric: str) -> Interval | None:
    return results.aggregates[system.key].get(metric)


def _cross(
    axes: Axes,
    points: Sequence[tuple[System, Interval, Interval]],
    colour: str,
    style: str,
    labels: Sequence[str],
) -> None:
    """Points with intervals in both directions, joined in their order, each with its label."""
    if not points:
        return
    axes.errorbar(
        [cost.mean for _, cost, _ in points],
        [value.mean for _, _, value in points],
        # On a logarithmic axis an interval must not reach zero.
        xerr=[
            [min(cost.half_width or 0.0, 0.9 * cost.mean) for _, cost, _ in points],
            [cost.half_width or 0.0 for _, cost, _ in points],
        ],
        yerr=[value.half_width or 0.0 for _, _, value in points],
        fmt=style,
        color=colour,
        elinewidth=0.8,
        linewidth=1.2,
    )
    for (_, cost, value), label in zip(points, labels, strict=True):
        place = (cost.mean, value.mean)
        shift = {"xytext": (4, 4), "textcoords": "offset points"}
        axes.annotate(label, place, color=colour, fontsize=9, **shift)


def _plain_ticks(axes: Axes) -> None:
    """0.01, 0.02, 0.05, 0.1 …, as many as fit."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = axes.get_xlim()
    crowded = high / low > 30
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if crowded else (1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
