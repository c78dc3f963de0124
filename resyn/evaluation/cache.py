"""Metric values that a killed or widened evaluation need not compute again.

One JSON file per reference, so that whole files can be replaced on any kind of storage. A value is
filed under the estimate's audio and the metric's identity (version and definition included).
"""

from __future__ import annotations

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
    """The known scores of estimates of one reference."""

    def __init__(self, storage: Storage, reference: Audio) -> None:
        self._storage = storage
        self._name = f"{FOLDER}/{audio_sha256(reference)}.json"
        self._scores = self._load()
        self._unsaved = False

    def get(self, estimate_sha256: str, metric: MetricInfo) -> Score | None:
        """The score, or None when it has to be computed."""
        return self._scores.get(f"{estimate_sha256} {metric.name} {metric.identity()}")

    def put(self, estimate_sha256: str, metric: MetricInfo, score: Score) -> None:
        """Remember a score; `save` makes it last."""
        self._scores[f"{estimate_sha256} {metric.name} {metric.identity()}"] = score
        self._unsaved = True

    def save(self) -> None:
        """Write what is new."""
        if self._unsaved:
            tree = {key: score.model_dump() for key, score in self._scores.items()}
            self._storage.write_json(self._name, tree)
            self._unsaved = False

    def _load(self) -> dict[str, Score]:
        try:
            tree: dict[str, Any] = self._storage.read_json(self._name)
            return {key: Score.model_validate(value) for key, value in tree.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, AttributeError, ValidationError):
            return {}  # a damaged cache costs time, nothing else
