"""Speaker similarity: whether a listener would still hear the same person."""

from __future__ import annotations

import functools

import numpy as np

from resyn.evaluation.metrics.base import Metric, Pair
from resyn.evaluation.metrics.ecapa import FILES, open_embedder
from resyn.evaluation.metrics.weights import Weights


def speaker_similarity(pair: Pair, weights: Weights, device: str) -> float:
    """Cosine of the two speaker embeddings, -1 to 1; 1 for a copy."""
    model = (str(weights.here()), weights.sha256, device)
    reference = _embedding(pair.reference.astype(np.float32).tobytes(), *model)
    estimate = open_embedder(*model).embed(pair.estimate.astype(np.float32))
    cosine = np.dot(reference, estimate) / (np.linalg.norm(reference) * np.linalg.norm(estimate))
    return float(cosine)


@functools.lru_cache(maxsize=4)
def _embedding(samples: bytes, folder: str, sha256: str, device: str) -> np.ndarray:
    """Every system of an utterance has the same reference, which is embedded once."""
    return open_embedder(folder, sha256, device).embed(np.frombuffer(samples, np.float32).copy())


SIM = Metric(
    name="sim",
    title="SIM",
    unit="",
    better="higher",
    digits=3,
    package="speechbrain",
    definition="cosine of the ECAPA-TDNN embeddings of resynthesised and reference audio",
    compute=speaker_similarity,
    files=FILES,
)
