"""The figures of quality: against codebooks and against evaluations; one panel per metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resyn.evaluation.drawing import (
    BASELINE,
    INK,
    MARKERS,
    NUM_SERIES_COLOURS,
    SERIES,
    SOFT,
    TOPLINE,
    Drawing,
    Panel,
    draw_panel,
    error_line,
    hollow_line,
    metric_heading,
)
from resyn.evaluation.metrics import MetricInfo
from resyn.evaluation.results import Results
from resyn.evaluation.systems import LATENT, System

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: A paper's values by metric and system key; drawn hollow, never joined with ours.
Published = Mapping[str, Mapping[str, float]]
CODEBOOK_FIGURE_METRICS = ("si_snr", "estoi", "latent_error")
_SYMBOL_GAP = 0.1
"""Of the panel's height, between the symbols of two levels."""


@dataclass(frozen=True)
class Series:
    """One line of the NFE figure; `slot` (from 1) is its colour on the page."""

    title: str
    slot: int
    systems: tuple[System, ...]


def method_series(results: Results) -> tuple[Series, ...]:
    """The methods in table order, each with its systems by NFE."""
    by_title: dict[str, list[System]] = {}
    for system in results.systems:
        if system.group == "method":
            by_title.setdefault(system.title, []).append(system)
    return tuple(
        Series(title, index % NUM_SERIES_COLOURS + 1, tuple(systems))
        for index, (title, systems) in enumerate(by_title.items())
    )


def codebook_panels(results: Results, published: Published | None = None) -> list[Panel]:
    """Against the number of codebooks, and of z: the paper's Fig. 2, and the latent error."""
    counted = sorted(
        (system for system in results.systems if system.num_codebooks),
        key=lambda system: system.num_codebooks or 0,
    )
    ladder = [*counted, results.system(LATENT)]
    names = [
        name
        for name in CODEBOOK_FIGURE_METRICS
        if any(results.aggregates[system.key].get(name) for system in ladder)
    ]
    return [
        _codebook_panel(results, name, ladder, (published or {}).get(name, {})) for name in names
    ]


def nfe_panels(
    results: Results, names: Sequence[str] | None = None, published: Published | None = None
) -> list[Panel]:
    """Quality against NFE, one line per method, between baseline and toplines: all, or `names`."""
    series = method_series(results)
    if not series:
        return []
    if names is None:
        names = [name for name, info in results.metrics.items() if not info.is_cost]
    return [_nfe_panel(results, name, series, (published or {}).get(name, {})) for name in names]


def _codebook_panel(
    results: Results, name: str, ladder: Sequence[System], published: Mapping[str, float]
) -> Panel:
    info = results.metrics[name]
    labels = [str(system.num_codebooks or "z") for system in ladder]

    def draw(axes: Axes) -> None:
        intervals = [results.aggregates[system.key].get(name) for system in ladder]
        places = range(len(ladder))
        error_line(axes, places[:-1], intervals[:-1], INK, "o-")
        error_line(axes, places[-1:], intervals[-1:], TOPLINE, "D")
        theirs = [published.get(system.key) for system in ladder]
        hollow_line(axes, places, theirs, SOFT, "D", join=False)
        axes.set_xticks(list(places), labels)
        axes.set_xlabel("RVQ codebooks decoded; z: no quantiser")

    return _panel(results, info, ladder, f"codebooks-{name}", draw)


def _nfe_panel(
    results: Results, name: str, series: Sequence[Series], published: Mapping[str, float]
) -> Panel:
    info = results.metrics[name]
    lines = [system for system in results.systems if system.group in ("baseline", "topline")]
    systems = [*(system for one in series for system in one.systems), *lines]
    counts = sorted({system.nfe for one in series for system in one.systems if system.nfe})

    def draw(axes: Axes) -> None:
        for one in series:
            places = [counts.index(system.nfe) for system in one.systems if system.nfe]
            # Side by side, so that equal NFEs do not hide each other.
            shifted = [place + 0.07 * (one.slot - (len(series) + 1) / 2) for place in places]
            intervals = [results.aggregates[system.key].get(name) for system in one.systems]
            marker = MARKERS[one.slot - 1]
            error_line(axes, shifted, intervals, SERIES[one.slot - 1], f"{marker}-")
            theirs = [published.get(system.key) for system in one.systems if system.nfe]
            hollow_line(axes, shifted, theirs, SERIES[one.slot - 1], marker)
        _levels(axes, results, name, lines)
        axes.set_xticks(range(len(counts)), [str(count) for count in counts])
        axes.set_xlim(-0.4, len(counts) - 0.6)
        axes.set_xlabel("network evaluations (NFE)")

    return _panel(results, info, systems, f"nfe-{name}", draw)


def _levels(axes: Axes, results: Results, name: str, lines: Sequence[System]) -> None:
    """Baseline and toplines as level lines with their symbols at the right edge."""
    low, high = axes.get_ylim()
    known = [(results.aggregates[system.key].get(name), system) for system in lines]
    levels = [(i.mean, s) for i, s in known if i is not None and s.symbol]
    low, high = min([low, *(mean for mean, _ in levels)]), max([high, *(m for m, _ in levels)])
    margin = 0.04 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    place = -1.0
    for mean, system in sorted(levels, key=lambda level: level[0]):
        colour = BASELINE if system.group == "baseline" else TOPLINE
        axes.axhline(mean, color=colour, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
        # Symbols of neighbouring levels are pushed apart.
        place = max(axes.transLimits.transform((0, mean))[1], place + _SYMBOL_GAP)
        axes.text(1.02, place, system.symbol, transform=axes.transAxes, va="center", color=colour)


def _panel(
    results: Results, info: MetricInfo, systems: Sequence[System], name: str, draw: Drawing
) -> Panel:
    told = ", ".join(
        f"{system.label} {interval.mean:.{info.digits}f}"
        for system in systems
        if (interval := results.aggregates[system.key].get(info.name)) is not None
    )
    return draw_panel(metric_heading(info), f"{info.title}: {told}", name, draw)
