"""What `results.json` holds: a file that stands alone, and from which the page is drawn."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from resyn.codec.base import CodecSpec
from resyn.evaluation.metrics import MetricInfo, Record, Score
from resyn.evaluation.statistics import Interval
from resyn.evaluation.systems import System
from resyn.storage import Storage

SCHEMA_VERSION = 1
FILE = "results.json"


class ModelRecord(Record):
    """A model, with a hash of its files; `uri` as the user named it, of a path its last part."""

    uri: str
    fingerprint: str
    method: str
    title: str
    num_coarse: int
    latent_std_sha256: str
    """Names the scale of its training latents."""


class UtteranceRecord(Record):
    """One utterance: `values[system key][metric name]`, and where it came from."""

    utt_id: str
    speaker: str
    text: str | None
    source: str
    seconds: float
    sha256: str
    values: Mapping[str, Mapping[str, Score]]


class Tile(Record):
    """One system's sample on the page; paths are relative to the output folder."""

    system: str
    audio: str
    spectrogram: str


class Sample(Record):
    """One utterance on the page."""

    utt_id: str
    tiles: tuple[Tile, ...]


class Note(Record):
    """A plain sentence drawn from the numbers. `kind` says how to mark it."""

    kind: str
    text: str
    system: str | None = None


class Skipped(Record):
    """An input that could not be used."""

    source: str
    reason: str


class Results(Record):
    """One evaluation. Every value's metric is described, with backend and rate, in `metrics`."""

    schema_version: int = SCHEMA_VERSION
    resyn_version: str
    fingerprint: str
    created: str
    """UTC, ISO 8601."""
    codec: CodecSpec
    num_coarse: int
    models: tuple[ModelRecord, ...]
    settings: Mapping[str, object]
    metrics: Mapping[str, MetricInfo]
    systems: tuple[System, ...]
    utterances: tuple[UtteranceRecord, ...]
    aggregates: Mapping[str, Mapping[str, Interval | None]]
    """By system key and metric name; None where no utterance has a value."""
    skipped: tuple[Skipped, ...]
    samples: tuple[Sample, ...]
    notes: tuple[Note, ...] = ()

    def system(self, key: str) -> System:
        """The system with this key. Raises KeyError."""
        for system in self.systems:
            if system.key == key:
                return system
        raise KeyError(key)

    @property
    def baseline(self) -> System:
        """The row that every method should beat."""
        return next(system for system in self.systems if system.group == "baseline")

    @property
    def table_systems(self) -> tuple[System, ...]:
        """The rows of the table: all but the further codebook counts."""
        return tuple(system for system in self.systems if system.group != "codebooks")

    def column(self, system: str, metric: str) -> list[float | None]:
        """A system's values by utterance."""
        return [score.value for score in self.scores(system, metric)]

    def scores(self, system: str, metric: str) -> list[Score]:
        """A system's scores by utterance, one without a value where it was not measured."""
        empty = Score(value=None)
        return [utt.values.get(system, {}).get(metric, empty) for utt in self.utterances]

    def words(self, system: str, metric: str) -> list[int] | None:
        """Words that a system's values were divided by, by utterance; None for others."""
        info = self.metrics.get(metric)
        if info is None or not info.per_word:
            return None
        return [score.words or 0 for score in self.scores(system, metric)]

    @property
    def seconds(self) -> float:
        """Speech evaluated, in seconds."""
        return sum(utterance.seconds for utterance in self.utterances)


def save_results(storage: Storage, results: Results) -> None:
    """Write `results.json`, in one piece."""
    storage.write_bytes(FILE, (results.model_dump_json(indent=1) + "\n").encode())


def load_results(storage: Storage) -> Results | None:
    """The stored results, or None when absent or of another schema."""
    try:
        return Results.model_validate_json(storage.read_bytes(FILE))
    except (FileNotFoundError, ValidationError):
        return None
