"""Metric values that a killed or widened evaluation need not compute again.

One JSON file per reference, so that whole files can be replaced on any kind of storage. A value is
filed under the estimate's audio, the metric's identity (version, definition and weights included)
and, where it counts words, the transcript.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any

import numpy as np
from pydantic import ValidationError

from resyn.evaluation.metrics import MetricInfo, Score
from resyn.storage import Storage
from resyn.types import Audio

FOLDER = "cache"


def audio_sha256(audio: Audio) -> str:
    """Hash of the rate and the float32 samples."""
    digest = hashlib.sha256(f"{audio.sample_rate}:".encode())
    digest.update(np.ascontiguousarray(audio.samples, dtype="<f4").tobytes())
    return digest.hexdigest()


class MetricCache:
    """The known scores of estimates of one reference, in which `text` is said."""

    def __init__(self, storage: Storage, reference: Audio, text: str | None = None) -> None:
        self._storage = storage
        self._text = text
        self._name = f"{FOLDER}/{audio_sha256(reference)}.json"
        self._scores = self._load()
        self._unsaved = False

    def get(self, estimate_sha256: str, metric: MetricInfo) -> Score | None:
        """The score, or None when it has to be computed."""
        return self._scores.get(self._key(estimate_sha256, metric))

    def put(self, estimate_sha256: str, metric: MetricInfo, score: Score) -> None:
        """Remember a score; `save` makes it last."""
        self._scores[self._key(estimate_sha256, metric)] = score
        self._unsaved = True

    def save(self) -> None:
        """Write what is new."""
        if self._unsaved:
            tree = {key: score.model_dump() for key, score in self._scores.items()}
            self._storage.write_json(self._name, tree)
            self._unsaved = False

    def _key(self, estimate_sha256: str, metric: MetricInfo) -> str:
        said = f" {hashlib.sha256((self._text or '').encode()).hexdigest()[:16]}"
        return f"{estimate_sha256} {metric.name} {metric.identity()}{said * metric.per_word}"

    def _load(self) -> dict[str, Score]:
        """What can be read; damage costs the time to compute what it hit, nothing else."""
        try:
            tree: Any = self._storage.read_json(self._name)
        except (FileNotFoundError, ValueError):
            return {}
        known: dict[str, Score] = {}
        for key, value in tree.items() if isinstance(tree, dict) else ():
            with contextlib.suppress(ValidationError):
                known[key] = Score.model_validate(value, strict=True)
        return known
