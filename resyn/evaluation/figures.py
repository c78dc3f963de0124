"""The figures of the page, as inline SVG panels that take their colours from the page.

One panel per metric: on a wide screen they stand side by side, on a narrow one below each other,
and the lettering keeps its size. Matplotlib draws in stand-in colours, which are then replaced by
the page's CSS variables, so that one drawing serves light and dark.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resyn.evaluation.metrics import MetricInfo
from resyn.evaluation.results import Results
from resyn.evaluation.statistics import Interval
from resyn.evaluation.systems import LATENT, System

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Drawing = Callable[["Axes"], None]
CODEBOOK_FIGURE_METRICS = ("si_snr", "estoi", "latent_error")
NUM_SERIES_COLOURS = 6
_PANEL_INCHES = (3.6, 2.5)
_INK, _RULE, _BASELINE, _TOPLINE = "#010101", "#020202", "#030303", "#040404"
_SERIES = tuple(f"#0500{index:02x}" for index in range(NUM_SERIES_COLOURS))
_VARIABLES = {_INK: "--ink", _RULE: "--rule", _BASELINE: "--baseline", _TOPLINE: "--topline"} | {
    stand_in: f"--series-{index}" for index, stand_in in enumerate(_SERIES, 1)
}
_SYMBOL_GAP = 0.1
"""Of the panel's height, between the symbols of two levels."""
_MARKERS = "sovD^P"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": _RULE,
    "grid.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
}


@dataclass(frozen=True)
class Series:
    """One line of the NFE figure; `slot` (from 1) is its colour on the page."""

    title: str
    slot: int
    systems: tuple[System, ...]


@dataclass(frozen=True)
class Panel:
    """One drawing: `svg` for the page, `title` above it, `summary` for those who cannot see it."""

    title: str
    svg: str
    summary: str


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


def codebook_panels(results: Results) -> list[Panel]:
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
    return [_codebook_panel(results, name, ladder) for name in names]


def nfe_panels(results: Results) -> list[Panel]:
    """Every quality metric against NFE, one line per method, between baseline and toplines."""
    series = method_series(results)
    if not series:
        return []
    names = [name for name, info in results.metrics.items() if not info.is_cost]
    return [_nfe_panel(results, name, series) for name in names]


def _codebook_panel(results: Results, name: str, ladder: Sequence[System]) -> Panel:
    info = results.metrics[name]
    labels = [str(system.num_codebooks or "z") for system in ladder]

    def draw(axes: Axes) -> None:
        intervals = [results.aggregates[system.key].get(name) for system in ladder]
        places = range(len(ladder))
        _errors(axes, places[:-1], intervals[:-1], _INK, "o-")
        _errors(axes, places[-1:], intervals[-1:], _TOPLINE, "D")
        axes.set_xticks(list(places), labels)
        axes.set_xlabel("RVQ codebooks decoded; z: no quantiser")

    return _panel(results, info, ladder, f"codebooks-{name}", draw)


def _nfe_panel(results: Results, name: str, series: Sequence[Series]) -> Panel:
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
            marker = _MARKERS[one.slot - 1]
            _errors(axes, shifted, intervals, _SERIES[one.slot - 1], f"{marker}-")
        _levels(axes, results, name, lines)
        axes.set_xticks(range(len(counts)), [str(count) for count in counts])
        axes.set_xlim(-0.4, len(counts) - 0.6)
        axes.set_xlabel("network evaluations (NFE)")

    return _panel(results, info, systems, f"nfe-{name}", draw)


def _errors(
    axes: Axes,
    places: Iterable[float],
    intervals: Iterable[Interval | None],
    colour: str,
    style: str,
) -> None:
    """A line with its 95 % intervals; systems without a value leave a gap in it."""
    known = [(p, i) for p, i in zip(places, intervals, strict=True) if i is not None]
    if known:
        axes.errorbar(
            [place for place, _ in known],
            [interval.mean for _, interval in known],
            yerr=[interval.half_width or 0.0 for _, interval in known],
            fmt=style,
            color=colour,
            elinewidth=1.0,
            capsize=2.5,
        )


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
        colour = _BASELINE if system.group == "baseline" else _TOPLINE
        axes.axhline(mean, color=colour, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
        # Symbols of neighbouring levels are pushed apart.
        place = max(axes.transLimits.transform((0, mean))[1], place + _SYMBOL_GAP)
        axes.text(1.02, place, system.symbol, transform=axes.transAxes, va="center", color=colour)


def _panel(
    results: Results, info: MetricInfo, systems: Sequence[System], name: str, draw: Drawing
) -> Panel:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=_PANEL_INCHES, layout="constrained")
        draw(figure.add_subplot())
        drawing = _inline_svg(figure)
    unit = f" ({info.unit})" if info.unit else ""
    arrow = "higher is better" if info.better == "higher" else "lower is better"
    told = ", ".join(
        f"{system.label} {interval.mean:.{info.digits}f}"
        for system in systems
        if (interval := results.aggregates[system.key].get(info.name)) is not None
    )
    return Panel(f"{info.title}{unit}, {arrow}", drawing, f"{info.title}: {told}")


def _inline_svg(figure: Figure) -> str:
    """The figure as an `<svg>` element that belongs to the page: no prolog, no outside names."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    head, tail = text.split(">", 1)
    head = re.sub(r' (?:xmlns(?::\w+)?|version|width|height)="[^"]*"', "", head)
    text = f"{head}>{tail}"
    for stand_in, variable in _VARIABLES.items():
        text = text.replace(stand_in, f"var({variable})")
    return text
