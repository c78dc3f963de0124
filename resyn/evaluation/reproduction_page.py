"""The reproduction's page, Markdown and JSON; no network, no server, one HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from resyn.evaluation.cost import cost_panels
from resyn.evaluation.drawing import MARKERS, SERIES, Panel, draw_panel, hollow_line
from resyn.evaluation.figures import codebook_panels, method_series, nfe_panels
from resyn.evaluation.findings import Verdict
from resyn.evaluation.page import page_environment, slots_of
from resyn.evaluation.paper import Paper
from resyn.evaluation.reproduction import Reproduction
from resyn.evaluation.reproduction_text import (
    columns,
    markdown,
    missing_columns,
    table1_texts,
    table2_texts,
)
from resyn.evaluation.results import Results
from resyn.evaluation.statistics import CONFIDENCE
from resyn.evaluation.tables import GROUPS
from resyn.storage import Storage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE, TEXT, DATA = "index.html", "reproduction.md", "reproduction.json"
#: Of Fig. 3 here: the paper's two, and what else tells how speech is heard.
PERCEPTUAL = ("wer", "sim", "dnsmos", "visqol", "pesq", "sharpness")
#: Of these, what is computed from the reference's waveform; the paper calls ViSQOL so.
INTRUSIVE = ("visqol", "pesq", "sharpness")

#: Each verdict in words for one finding and for several.
VERDICTS: dict[Verdict, tuple[str, str]] = {
    "holds": ("holds", "hold"),
    "holds in part": ("holds in part", "hold in part"),
    "fails in part": ("fails in part", "fail in part"),
    "does not hold": ("does not hold", "do not hold"),
    "no clear difference": ("shows no clear difference", "show no clear difference"),
    "cannot be told": ("cannot be told", "cannot be told"),
}


def write_reproduction(
    storage: Storage, made: Reproduction, full: Results, links: Mapping[str, str]
) -> None:
    """Write page, Markdown and, last, JSON. `links` are places of more by their titles."""
    storage.write_bytes(PAGE, render(made, full, links).encode())
    storage.write_bytes(TEXT, markdown(made, full.metrics).encode())
    storage.write_bytes(DATA, (made.model_dump_json(indent=1) + "\n").encode())


def render(made: Reproduction, full: Results, links: Mapping[str, str]) -> str:
    """The page as one HTML document."""
    rows = table1_texts(made, full.metrics)
    return (
        page_environment()
        .get_template("reproduction.html.j2")
        .render(
            made=made,
            results=full,
            links=links,
            series=method_series(full),
            slots=slots_of(full),
            columns=columns(made.paper, full.metrics),
            groups=[
                (GROUPS[name], list(of)) for name, of in groupby(rows, key=lambda r: r[0].group)
            ],
            table2=table2_texts(made, full.metrics),
            missing=missing_columns(made, full.metrics),
            fig2=codebook_panels(full, made.paper.by_metric()) if "fig2" in made.what else [],
            fig3=fig3_panels(made.paper, full) if "fig3" in made.what else [],
            cost=cost_panels(full),
            verdicts=_count_verdicts(made),
            confidence=f"{CONFIDENCE:.0%}",
        )
    )


def fig3_panels(paper: Paper, full: Results) -> list[Panel]:
    """Against NFE: perceptual metrics that have values here, and the paper's WER and SIM."""
    methods = [system.key for system in full.systems if system.group == "method"]
    measured = [
        name
        for name in full.metrics
        if name.startswith(PERCEPTUAL) and any(full.aggregates[key].get(name) for key in methods)
    ]
    ordered = sorted(
        measured, key=lambda name: [name.startswith(p) for p in PERCEPTUAL], reverse=True
    )
    alone = [name for name in paper.fig3 if name not in measured]
    return [
        *(_paper_panel(paper, name) for name in alone),
        *(
            replace(panel, title=f"{panel.title} (intrusive)") if name in INTRUSIVE else panel
            for name, panel in zip(
                ordered, nfe_panels(full, ordered, paper.by_metric()), strict=True
            )
        ),
    ]


def _paper_panel(paper: Paper, metric: str) -> Panel:
    """The paper's values where we have none of ours."""
    info = paper.metrics[metric]
    rows = [row for row in paper.table1 if row.nfe is not None and metric in row.values]
    counts = sorted({row.nfe for row in rows if row.nfe is not None})
    titles = list(dict.fromkeys(row.title for row in rows))

    def draw(axes: Axes) -> None:
        for index, title in enumerate(titles):
            own = [row for row in rows if row.title == title]
            places = [counts.index(row.nfe) for row in own if row.nfe is not None]
            values = [row.values[metric] for row in own]
            hollow_line(axes, places, values, SERIES[index], MARKERS[index])
        axes.set_xticks(range(len(counts)), [str(count) for count in counts])
        axes.set_xlim(-0.4, len(counts) - 0.6)
        axes.set_xlabel("network evaluations (NFE)")

    told = ", ".join(f"{row.title}, NFE {row.nfe} {info.text(row.values[metric])}" for row in rows)
    heading = f"{info.heading}, {info.better} is better: the paper’s alone"
    return draw_panel(heading, f"The paper's {info.title}: {told}", f"paper-{metric}", draw)


def _count_verdicts(made: Reproduction) -> str:
    """`3 hold, 1 holds in part, 4 do not hold`, of the verdicts that occur."""
    told: list[str] = []
    for verdict, (one, several) in VERDICTS.items():
        count = sum(finding.verdict == verdict for finding in made.findings)
        if count:
            told.append(f"{count} {one if count == 1 else several}")
    return ", ".join(told)
