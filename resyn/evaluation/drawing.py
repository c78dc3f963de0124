"""Panels: Matplotlib drawings as inline SVG that take their colours from the page.

On a wide screen panels stand side by side, on a narrow one below each other, and the lettering
keeps its size. Matplotlib draws in stand-in colours, which are then replaced by the page's CSS
variables, so that one drawing serves light and dark.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resyn.evaluation.metrics import MetricInfo
from resyn.evaluation.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Drawing = Callable[["Axes"], None]
NUM_SERIES_COLOURS = 6
INK, RULE, BASELINE, TOPLINE, SOFT = "#010101", "#020202", "#030303", "#040404", "#060606"
SERIES = tuple(f"#0500{index:02x}" for index in range(NUM_SERIES_COLOURS))
MARKERS = "sovD^P"
"""Of the series, so that they differ without colour too."""
_VARIABLES = {
    INK: "--ink",
    RULE: "--rule",
    BASELINE: "--baseline",
    TOPLINE: "--topline",
    SOFT: "--soft",
    **{stand_in: f"--series-{index}" for index, stand_in in enumerate(SERIES, 1)},
}
_WIDTH, HEIGHT = 3.6, 2.5
"""Of a panel, in inches."""
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.edgecolor": RULE,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
}


@dataclass(frozen=True)
class Panel:
    """One drawing: `svg` for the page, `title` above it, `summary` for those who cannot see it."""

    title: str
    svg: str
    summary: str


def draw_panel(title: str, summary: str, name: str, draw: Drawing, height: float = HEIGHT) -> Panel:
    """The panel that `draw` fills; `name` makes its SVG identifiers unique on a page."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        draw(figure.add_subplot())
        drawing = _inline_svg(figure)
    return Panel(title, drawing, summary)


def metric_heading(info: MetricInfo) -> str:
    """`SI-SNR (dB), higher is better`."""
    unit = f" ({info.unit})" if info.unit else ""
    return f"{info.title}{unit}, {info.better} is better"


def error_line(
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


def hollow_line(
    axes: Axes,
    places: Iterable[float],
    values: Iterable[float | None],
    colour: str,
    marker: str,
    join: bool = True,
) -> None:
    """Published values as hollow markers, on a dotted line to `join`; None leaves one out."""
    known = [(p, v) for p, v in zip(places, values, strict=True) if v is not None]
    if known:
        axes.plot(
            [place for place, _ in known],
            [value for _, value in known],
            color=colour,
            marker=marker,
            markersize=7,
            markerfacecolor="none",
            linestyle=":" if join else "none",
            linewidth=1.2,
        )


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
