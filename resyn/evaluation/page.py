"""The report: `index.html` with its table, figures and sounds, `table.md` and `results.json`.

The page needs no network and no server: styles, script and figures are inside it, sounds and
spectrograms lie beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resyn.config.base import flatten
from resyn.evaluation.cost import cost_panels
from resyn.evaluation.figures import codebook_panels, method_series, nfe_panels
from resyn.evaluation.metrics import MetricInfo, Score
from resyn.evaluation.numbers import MISSING, format_interval, format_value, join_words
from resyn.evaluation.results import Results, Sample, Tile, UtteranceRecord, save_results
from resyn.evaluation.samples import RANGE_DB
from resyn.evaluation.statistics import CONFIDENCE
from resyn.evaluation.systems import System
from resyn.evaluation.tables import ARROWS, markdown_table, table_groups
from resyn.storage import Storage

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE = "index.html"
TABLE = "table.md"
#: Values printed below each sample, where measured.
TILE_METRICS = ("si_snr", "estoi", "pesq")
#: Headings of the notes by their kind, gravest first.
NOTE_HEADINGS = {
    "warning": "Beware",
    "below": "Below the baseline",
    "above": "Above the baseline",
    "unordered": "Toplines out of order",
    "ordered": "Toplines in order",
    "missing": "Missing",
}


@dataclass(frozen=True)
class TileView:
    """One sample as the page shows it."""

    tile: Tile
    system: System
    slot: int
    scores: str


@dataclass(frozen=True)
class SampleView:
    """One utterance as the page shows it."""

    number: int
    utterance: UtteranceRecord
    tiles: tuple[TileView, ...]


@dataclass(frozen=True)
class ValueTable:
    """A metric's values: (utterance, texts by system)."""

    info: MetricInfo
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def write_report(storage: Storage, results: Results) -> None:
    """Write page, table and, last, `results.json`, whose presence means complete."""
    storage.write_bytes(PAGE, render_page(results).encode())
    storage.write_bytes(TABLE, markdown_table(results).encode())
    save_results(storage, results)


def page_environment() -> Environment:
    """Templates whose every word from outside is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("resyn.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"svg": Markup, "words": join_words}
    return environment


def render_page(results: Results) -> str:
    """The page as one HTML document."""
    slots = slots_of(results)
    template = page_environment().get_template("report.html.j2")
    return template.render(
        results=results,
        groups=table_groups(results),
        arrows=ARROWS,
        slots=slots,
        series=method_series(results),
        codebook_panels=codebook_panels(results),
        nfe_panels=nfe_panels(results),
        cost_panels=cost_panels(results),
        codebook_rows=[s for s in results.systems if s.group == "codebooks"],
        value_tables=[_value_table(results, info) for info in results.metrics.values()],
        samples=[_sample_view(results, sample, slots) for sample in results.samples],
        settings=_settings(results),
        notes=_notes_by_heading(results),
        format_interval=format_interval,
        confidence=f"{CONFIDENCE:.0%}",
        range_db=f"{RANGE_DB:.0f}",
    )


def slots_of(results: Results) -> Mapping[str, int]:
    """Colour slot of every method's systems; 0 for the others."""
    slots = {system.key: 0 for system in results.systems}
    return slots | {s.key: one.slot for one in method_series(results) for s in one.systems}


def _value_table(results: Results, info: MetricInfo) -> ValueTable:
    """The values of the utterances on the page, two digits finer than in the table above."""
    finer = info.model_copy(update={"digits": info.digits + 2})
    shown = {sample.utt_id for sample in results.samples}
    rows = []
    for utterance in results.utterances:
        if utterance.utt_id in shown:
            scores = (utterance.values[s.key][info.name] for s in results.table_systems)
            texts = [MISSING if s.value is None else format_value(s.value, finer) for s in scores]
            rows.append((utterance.utt_id, tuple(texts)))
    return ValueTable(info, tuple(rows))


def _settings(results: Results) -> dict[str, str]:
    """Dotted settings as text; those left open or empty are left out."""
    return {
        key: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for key, value in flatten(results.settings).items()
        if value not in (None, [])
    }


def _notes_by_heading(results: Results) -> list[tuple[str, str, list[str]]]:
    """(kind, heading, sentences) of the kinds that occur."""
    found = {kind: [n.text for n in results.notes if n.kind == kind] for kind in NOTE_HEADINGS}
    return [(kind, NOTE_HEADINGS[kind], texts) for kind, texts in found.items() if texts]


def _sample_view(results: Results, sample: Sample, slots: Mapping[str, int]) -> SampleView:
    number, utterance = next(
        (number, utterance)
        for number, utterance in enumerate(results.utterances, 1)
        if utterance.utt_id == sample.utt_id
    )
    tiles = tuple(
        TileView(
            tile=tile,
            system=results.system(tile.system),
            slot=slots[tile.system],
            scores=_tile_scores(results, utterance.values[tile.system]),
        )
        for tile in sample.tiles
    )
    return SampleView(number, utterance, tiles)


def _tile_scores(results: Results, scores: Mapping[str, Score]) -> str:
    told: list[str] = []
    for name in TILE_METRICS:
        value = scores[name].value if name in scores else None
        if value is not None:
            info = results.metrics[name]
            told.append(f"{info.title} {format_value(value, info)}")
    return " · ".join(told)
