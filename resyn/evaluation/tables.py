"""The table of the paper (its Table 1), as rows for the page and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from resyn.evaluation.metrics import MetricInfo
from resyn.evaluation.notes import falls_below
from resyn.evaluation.numbers import MISSING, format_half_width, format_value, join_words
from resyn.evaluation.results import Results
from resyn.evaluation.statistics import CONFIDENCE
from resyn.evaluation.systems import System

GROUPS = {"baseline": "Baseline", "method": "Resynthesis methods", "topline": "Topline"}
ARROWS = {"higher": "↑", "lower": "↓"}


@dataclass(frozen=True)
class Cell:
    """One value as text. `best` among the methods; `below` baseline x1; `why` it is missing."""

    metric: str
    value: str
    half_width: str = ""
    best: bool = False
    below: bool = False
    why: str = ""


@dataclass(frozen=True)
class Row:
    """One system's cells, in the order of the metrics."""

    system: System
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Group:
    """A titled block of rows."""

    title: str
    rows: tuple[Row, ...]


def table_groups(results: Results) -> tuple[Group, ...]:
    """Baseline, resynthesis methods, toplines: the order of the paper's Table 1."""
    best = _best_texts(results)
    groups = (
        Group(
            title,
            tuple(_row(results, s, best) for s in results.table_systems if s.group == name),
        )
        for name, title in GROUPS.items()
    )
    return tuple(group for group in groups if group.rows)


def markdown_table(results: Results) -> str:
    """The table as Markdown, with a line on what its values are."""
    heads = [_head(info) for info in results.metrics.values()]
    lines = [
        _line(["Decoder input", "NFE", *heads]),
        _line(["---", "---:", *("---:" for _ in heads)]),
    ]
    for group in table_groups(results):
        lines.append(_line([f"*{group.title}*", "", *("" for _ in heads)]))
        lines.extend(_markdown_row(row) for row in group.rows)
    lines += ["", *_footnotes(results)]
    return "\n".join(lines) + "\n"


def _best_texts(results: Results) -> dict[str, str]:
    """Per quality metric, the best mean of the methods as printed, so that ties are all bold."""
    methods = [system.key for system in results.systems if system.group == "method"]
    best: dict[str, str] = {}
    for name, info in results.metrics.items():
        known = [results.aggregates[key].get(name) for key in methods]
        means = [interval.mean for interval in known if interval is not None]
        if means and not info.is_cost:
            choose = max if info.better == "higher" else min
            best[name] = format_value(choose(means), info)
    return best


def _row(results: Results, system: System, best: dict[str, str]) -> Row:
    method = system.group == "method"
    below = falls_below(results, system) if method else frozenset()
    cells: list[Cell] = []
    for name, info in results.metrics.items():
        interval = results.aggregates[system.key].get(name)
        if interval is None:
            cells.append(Cell(name, MISSING, why=_why_missing(results, system, name)))
            continue
        text = format_value(interval.mean, info)
        bold = method and best.get(name) == text
        half_width = format_half_width(interval, info)
        cells.append(Cell(name, text, half_width, best=bold, below=name in below))
    return Row(system, tuple(cells))


def _why_missing(results: Results, system: System, metric: str) -> str:
    reasons = (utt.values[system.key][metric].reason for utt in results.utterances)
    return next((reason for reason in reasons if reason), "no value")


def _markdown_row(row: Row) -> str:
    nfe = "" if row.system.nfe is None else str(row.system.nfe)
    title = f"{row.system.title} {row.system.symbol}".strip().replace("|", r"\|")
    return _line([title, nfe, *(_markdown_cell(cell) for cell in row.cells)])


def _markdown_cell(cell: Cell) -> str:
    value = f"**{cell.value}**" if cell.best else cell.value
    return f"{value} {cell.half_width}".strip() + (" ▾" if cell.below else "")


def _head(info: MetricInfo) -> str:
    unit = f" ({info.unit})" if info.unit else ""
    return f"{info.title}{unit} {ARROWS[info.better]}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _footnotes(results: Results) -> Iterator[str]:
    count, seconds = len(results.utterances), results.seconds
    pooled = [info.title for info in results.metrics.values() if info.per_word]
    rates = f" {join_words(pooled)}: all errors over all words, interval by bootstrap."
    yield (
        f"Mean ± half of the {CONFIDENCE:.0%} interval over {count} utterances ({seconds:.0f} s)."
        f"{rates if pooled else ''} "
        f"Bold: best method. ▾: worse than baseline {results.baseline.symbol}."
    )
    yield ""
    label = f"{results.codec.name}{' (random weights)' if results.codec.random_weights else ''}"
    backends = "; ".join(f"{info.title}: {info.backend}" for info in results.metrics.values())
    yield f"Codec {label}. {backends}."
    for name, info in results.metrics.items():
        if all(results.aggregates[s.key].get(name) is None for s in results.table_systems):
            yield ""
            reason = _why_missing(results, results.baseline, name)
            yield f"{info.title} has no values: {reason}."
