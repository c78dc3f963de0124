"""The reproduction's tables as text, for the page and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from resyn.evaluation.metrics import MetricInfo
from resyn.evaluation.numbers import MISSING, format_half_width, format_value
from resyn.evaluation.paper import Paper
from resyn.evaluation.reproduction import AblationCells, Cell, Reproduction, TableRow
from resyn.evaluation.statistics import CONFIDENCE
from resyn.evaluation.tables import ARROWS, GROUPS


@dataclass(frozen=True)
class Column:
    """A metric of Table 1: `info` is ours, None if not computed; `theirs` if the paper has it."""

    name: str
    title: str
    unit: str
    better: str
    info: MetricInfo | None
    theirs: bool

    @property
    def heading(self) -> str:
        """`WER (%) ↓`."""
        return f"{self.title}{f' ({self.unit})' if self.unit else ''} {ARROWS[self.better]}"


@dataclass(frozen=True)
class Text:
    """A value as text; `best` among the methods of its source."""

    value: str = MISSING
    spread: str = ""
    why: str = ""
    best: bool = False


def columns(paper: Paper, infos: Mapping[str, MetricInfo]) -> list[Column]:
    """The paper's metrics in its order, then those that only we have."""
    made = [
        Column(name, metric.title, metric.unit, metric.better, infos.get(name), theirs=True)
        for name, metric in paper.metrics.items()
    ]
    more = (info for name, info in infos.items() if name not in paper.metrics)
    return made + [
        Column(info.name, info.title, info.unit, info.better, info, theirs=False) for info in more
    ]


def our_text(cell: Cell, column: Column, best: str | None = None) -> Text:
    """Our value of a cell."""
    if cell.ours is None or column.info is None:
        return Text(why=cell.why)
    value = format_value(cell.ours.mean, column.info)
    return Text(value, format_half_width(cell.ours, column.info), best=value == best)


def paper_text(cell: Cell, column: Column, paper: Paper, best: str | None = None) -> Text:
    """The paper's value of a cell."""
    if cell.paper is None:
        return Text(why="not in the paper")
    metric = paper.metrics[column.name]
    value, half_width = metric.text(cell.paper), cell.paper_half_width
    spread = f"± {metric.text(half_width)}" if half_width is not None else ""
    return Text(value, spread, best=value == best)


def table1_texts(
    made: Reproduction, infos: Mapping[str, MetricInfo]
) -> list[tuple[TableRow, list[tuple[Column, Text, Text | None]]]]:
    """Every row of Table 1 with, for each column, our text and the paper's where it has one."""
    listed = columns(made.paper, infos)
    best = {column.name: _best(made.table1, column, made.paper) for column in listed}
    rows = []
    for row in made.table1:
        chosen = best if row.group == "method" else {}
        texts: list[tuple[Column, Text, Text | None]] = []
        for column in listed:
            ours, theirs = chosen.get(column.name, (None, None))
            cell = row.cells[column.name]
            paper = paper_text(cell, column, made.paper, theirs) if column.theirs else None
            texts.append((column, our_text(cell, column, ours), paper))
        rows.append((row, texts))
    return rows


def _best(rows: Sequence[TableRow], column: Column, paper: Paper) -> tuple[str | None, str | None]:
    """The best value among the methods as printed, ours and the paper's."""
    choose = max if column.better == "higher" else min
    cells = [row.cells[column.name] for row in rows if row.group == "method"]
    ours = [cell.ours.mean for cell in cells if cell.ours is not None]
    theirs = [cell.paper for cell in cells if cell.paper is not None]
    info = column.info
    return (
        format_value(choose(ours), info) if info and ours and not info.is_cost else None,
        paper.metrics[column.name].text(choose(theirs)) if theirs else None,
    )


def table2_texts(
    made: Reproduction, infos: Mapping[str, MetricInfo]
) -> list[tuple[Column, list[tuple[AblationCells, list[Text]]]]]:
    """By metric, the rows of Table 2: ours on all data, on the subset, the change; the paper's."""
    named = {column.name: column for column in columns(made.paper, infos)}
    groups = []
    for name, cells in groupby(made.table2, key=lambda row: row.metric):
        column, rows = named[name], []
        for row in cells:
            theirs = [paper_text(cell, column, made.paper) for cell in (row.all, row.subset)]
            ours = [our_text(cell, column) for cell in (row.all, row.subset)]
            rows.append((row, [*ours, _change_text(row, column), *theirs]))
        groups.append((column, rows))
    return groups


def _change_text(row: AblationCells, column: Column) -> Text:
    if row.change is None or column.info is None:
        return Text(why=row.subset.why or row.all.why)
    sign = "+" if row.change.mean > 0 else ""
    value = sign + format_value(row.change.mean, column.info)
    return Text(value, format_half_width(row.change, column.info))


def missing_columns(made: Reproduction, infos: Mapping[str, MetricInfo]) -> list[tuple[str, str]]:
    """(title, reason) of the columns of Table 1 in which no method has a value of ours."""
    told = []
    for column in columns(made.paper, infos):
        cells = [row.cells[column.name] for row in made.table1 if row.group == "method"]
        if not any(cell.ours for cell in cells):
            told.append((column.title, next((c.why for c in cells if c.why), "no value")))
    return told


def markdown(made: Reproduction, infos: Mapping[str, MetricInfo]) -> str:
    """The whole reproduction as Markdown."""
    lines = [f"# {made.paper.title}: reproduced", "", f"Scale: {made.scale}."]
    if made.differences:
        lines += ["", "Not the paper's experiment, or not known to be:", ""]
        lines += [f"- {text}." for text in made.differences]
    lines += ["", "## What came out", ""]
    for finding in made.findings:
        lines.append(f"- **{finding.verdict}** ({finding.source}): {finding.claim}")
        lines += [f"  - {text}" for text in finding.evidence]
    if "table1" in made.what:
        lines += ["", "## Table 1", "", *_markdown_table1(made, infos)]
    if "table2" in made.what and made.table2:
        lines += ["", f"## Table 2: {made.subset}", "", *_markdown_table2(made, infos)]
    lines += ["", "## Models", ""]
    lines += [
        f"- {m.name}: {m.title}, {m.parameters / 1e6:.1f}M parameters, {m.steps} steps, {m.data}, "
        f"scored: {m.scored}"
        for m in made.models
    ]
    missing = missing_columns(made, infos)
    lines += ["", *(f"- {title} has no value here: {why}." for title, why in missing)]
    lines += ["", f"Ours: mean ± half of the {CONFIDENCE:.0%} interval over utterances."]
    return "\n".join(lines) + "\n"


def _markdown_table1(made: Reproduction, infos: Mapping[str, MetricInfo]) -> Iterator[str]:
    heads = ["Decoder input", "NFE"]
    for column in columns(made.paper, infos):
        heads += [column.heading, *(["paper"] if column.theirs else [])]
    yield _line(heads)
    yield _line(["---", *("---:" for _ in heads[1:])])
    for group, rows in groupby(table1_texts(made, infos), key=lambda row: row[0].group):
        yield _line([f"*{GROUPS[group]}*", *("" for _ in heads[1:])])
        for row, texts in rows:
            cells = [text for _, *pair in texts for text in pair if text is not None]
            title = f"{row.title} {row.symbol}".strip()
            yield _line([title, str(row.nfe or ""), *(_markdown_cell(text) for text in cells)])


def _markdown_table2(made: Reproduction, infos: Mapping[str, MetricInfo]) -> Iterator[str]:
    heads = ["Metric", "Decoder input", "NFE", "all", "subset", "change", "paper, all", "paper, LS"]
    yield _line(heads)
    yield _line(["---", "---", *("---:" for _ in heads[2:])])
    for column, rows in table2_texts(made, infos):
        for row, texts in rows:
            cells = [_markdown_cell(text) for text in texts]
            yield _line([column.heading, row.title, str(row.nfe), *cells])


def _markdown_cell(text: Text) -> str:
    value = f"**{text.value}**" if text.best else text.value
    return f"{value} {text.spread}".strip()


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
