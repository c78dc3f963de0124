"""The paper's tables and figures with ours beside them, as one record that stands alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from resyn.evaluation.checks import why_missing
from resyn.evaluation.findings import (
    Finding,
    codebook_findings,
    data_findings,
    evaluation_findings,
    mean_change,
    method_findings,
)
from resyn.evaluation.metrics import Record, latent
from resyn.evaluation.paper import AblationRow, Paper, PaperRow
from resyn.evaluation.results import Results
from resyn.evaluation.statistics import Interval
from resyn.evaluation.systems import System

SCHEMA_VERSION = 1
GROUPS = ("baseline", "method", "topline")
#: Table 2's metrics here, after the paper's own two, where they have values.
ABLATION_METRICS = ("wer", "sim", "estoi", "visqol", "log_mel", "latent_error")
LISTENERS = "no listener rated anything here"


class ModelFacts(Record):
    """What a row's model is: `hours` of training speech, size, steps, and what of it is scored."""

    name: str
    title: str
    parameters: int
    steps: int
    hours: float
    data: str
    subset: bool = False
    """Trained on Table 2's smaller set."""
    scored: str = "last checkpoint"
    """Which of the run's checkpoints, in words."""


class Cell(Record):
    """A value of ours beside the paper's; `why` there is none of ours."""

    ours: Interval | None = None
    why: str = ""
    paper: float | None = None
    paper_half_width: float | None = None


class TableRow(Record):
    """A row of Table 1: cells by metric."""

    key: str
    group: Literal["baseline", "method", "topline"]
    title: str
    symbol: str = ""
    nfe: int | None = None
    cells: Mapping[str, Cell]


class AblationCells(Record):
    """A row of Table 2 for one metric: on all data, on the subset, and the paired change."""

    key: str
    title: str
    nfe: int
    metric: str
    all: Cell
    subset: Cell
    change: Interval | None


class Reproduction(Record):
    """All that the page, the Markdown and the JSON tell."""

    schema_version: int = SCHEMA_VERSION
    resyn_version: str
    scale: Literal["demo", "paper"]
    what: tuple[str, ...]
    subset: str
    """How Table 2's smaller set was made, in words."""
    differences: tuple[str, ...]
    """In what this is not the paper's experiment; empty if in nothing known."""
    paper: Paper
    models: tuple[ModelFacts, ...]
    findings: tuple[Finding, ...]
    table1: tuple[TableRow, ...]
    table2: tuple[AblationCells, ...]
    evaluations: Mapping[str, str]
    """Fingerprints of the evaluations that it was made from, by their folder."""


def write_findings(
    what: Sequence[str], full: Results, subset: Results | None
) -> tuple[Finding, ...]:
    """The paper's findings that the parts `what` bear on, in the order of its tables."""
    made: list[Finding] = []
    if "table1" in what:
        made += method_findings(full)
    if "table2" in what and subset is not None:
        made += data_findings(full, subset, _ablation_metrics(full, subset))
    if "fig2" in what:
        made += codebook_findings(full)
    if "fig3" in what:
        made += evaluation_findings(full)
    return tuple(made)


def table1_rows(paper: Paper, full: Results) -> tuple[TableRow, ...]:
    """Our rows and the paper's, by group; a row that only one has is there too."""
    systems = {system.key: system for system in full.table_systems}
    metrics = [*paper.metrics, *(name for name in full.metrics if name not in paper.metrics)]
    rows: list[TableRow] = []
    for group in GROUPS:
        keys = [key for key, system in systems.items() if system.group == group]
        keys += [row.key for row in paper.table1 if row.group == group and row.key not in keys]
        for key in keys:
            row, system = paper.row(key), systems.get(key)
            cells = {name: _cell(full, system, row, name) for name in metrics}
            rows.append(_row(key, group, system, row, cells))
    return tuple(rows)


def table2_rows(paper: Paper, full: Results, subset: Results) -> tuple[AblationCells, ...]:
    """By metric, the paper's rows: its own numbers, ours, and our change utterance by utterance.

    Raises ValueError when the two evaluations are not of the same utterances.
    """
    if [utt.sha256 for utt in full.utterances] != [utt.sha256 for utt in subset.utterances]:
        raise ValueError("the two evaluations of Table 2 are not of the same utterances")
    return tuple(
        _ablation(row, name, full, subset)
        for name in _ablation_metrics(full, subset)
        for row in paper.table2
    )


def same_scale(full: Results, subset: Results) -> bool:
    """Whether latent errors of the two are in one unit: both scale by their first model's space."""
    scales = [results.models[0].latent_std_sha256 for results in (full, subset) if results.models]
    return len(set(scales)) < 2


def _ablation_metrics(full: Results, subset: Results) -> list[str]:
    """The paper's two, and those of ours that have a value and the same unit in both."""
    known = {n for cells in full.aggregates.values() for n, value in cells.items() if value}
    if not same_scale(full, subset):
        known.discard(latent.NAME)
    return [name for name in ABLATION_METRICS if name in known or name in ("wer", "sim")]


def _row(
    key: str,
    group: Literal["baseline", "method", "topline"],
    system: System | None,
    row: PaperRow | None,
    cells: Mapping[str, Cell],
) -> TableRow:
    if system is not None:
        title, symbol, nfe = system.title, system.symbol, system.nfe
    else:
        assert row is not None, "a row is ours, the paper's or both"
        title, symbol, nfe = row.title, "", row.nfe
    return TableRow(key=key, group=group, title=title, symbol=symbol, nfe=nfe, cells=cells)


def _cell(full: Results, system: System | None, row: PaperRow | None, metric: str) -> Cell:
    paper = {} if row is None else row.values
    spread = {} if row is None else row.half_widths
    ours, why = _ours(full, None if system is None else system.key, metric)
    return Cell(ours=ours, why=why, paper=paper.get(metric), paper_half_width=spread.get(metric))


def _ours(results: Results, key: str | None, metric: str) -> tuple[Interval | None, str]:
    """Our value, or the reason why there is none."""
    if metric == "mos":
        return None, LISTENERS
    if key is None or key not in results.aggregates:
        return None, "not evaluated here"
    if metric not in results.metrics:
        return None, "not computed here; --metrics names what is"
    interval = results.aggregates[key].get(metric)
    return interval, "" if interval else why_missing(results, metric, key)


def _ablation(row: AblationRow, metric: str, full: Results, subset: Results) -> AblationCells:
    cells: list[Cell] = []
    for results, paper in ((full, row.all), (subset, row.subset)):
        ours, why = _ours(results, row.key, metric)
        cells.append(Cell(ours=ours, why=why, paper=paper.get(metric)))
    return AblationCells(
        key=row.key,
        title=row.title,
        nfe=row.nfe,
        metric=metric,
        all=cells[0],
        subset=cells[1],
        change=mean_change(full, subset, row.key, metric),
    )
