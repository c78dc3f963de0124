"""DNSMOS P.835 (Reddy et al., 2022): three opinion scores of speech, without a reference.

The network lies inside the package `speechmos` of the metric's authors. What surrounds it is done
here as in their code (microsoft/DNS-Challenge, DNSMOS/dnsmos_local.py): importing the package's own
would compile the spectrogram of another score, P.808, which is not asked for, for ten seconds.
"""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from resyn.evaluation.metrics.base import Metric, Pair

SAMPLE_RATE = 16_000
WINDOW = 144_160
"""Samples that the network hears at a time: 9.01 s."""

#: Polynomials, highest power first, from the network's outputs to opinion scores, in its order.
_OPINIONS = {
    "sig": (-0.08397278, 1.22083953, 0.0052439),
    "bak": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl": (-0.06766283, 1.11546468, 0.04602535),
}


@functools.cache
def _network() -> Any:
    """The network, on one thread: utterances run in parallel already."""
    import onnxruntime

    runtime: ModuleType = onnxruntime
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    content = importlib.resources.files("speechmos") / "dnsmos_models" / "sig_bak_ovr.onnx"
    providers = ["CPUExecutionProvider"]
    return runtime.InferenceSession(content.read_bytes(), options, providers=providers)


def windows(samples: np.ndarray) -> Iterator[np.ndarray]:
    """Windows (144160,) of (S,) samples at 16 kHz, one a second; a short clip is doubled first."""
    while len(samples) < WINDOW:
        samples = np.append(samples, samples)
    seconds = len(samples) // SAMPLE_RATE
    for start in range(max(1, seconds - WINDOW // SAMPLE_RATE)):
        yield samples[start * SAMPLE_RATE :][:WINDOW]


@functools.lru_cache(maxsize=1)
def _opinions(samples: bytes) -> dict[str, float]:
    """All three scores of one take; its columns share one computation."""
    # The network knows nothing beyond ±1, where a file of 16 bits would have clipped.
    heard = np.frombuffer(samples, np.float32).clip(-1, 1)
    raw = np.stack([_network().run(None, {"input_1": one[None]})[0][0] for one in windows(heard)])
    mapped = (np.polyval(polynomial, raw[:, i]) for i, polynomial in enumerate(_OPINIONS.values()))
    return {name: float(scores.mean()) for name, scores in zip(_OPINIONS, mapped, strict=True)}


def opinion(pair: Pair, of: str) -> float:
    """The mean opinion score `of` the estimate (sig, bak or ovrl), about 1 to 5."""
    return _opinions(pair.estimate.astype(np.float32).tobytes())[of]


def _metric(short: str, of_what: str) -> Metric:
    return Metric(
        name=f"dnsmos_{short}",
        title=f"DNSMOS {short.upper()}",
        unit="",
        better="higher",
        digits=2,
        package="speechmos",
        besides=("onnxruntime",),
        definition=(
            f"opinion of {of_what} (P.835) that DNSMOS predicts without a reference, mean over "
            "windows of 9.01 s, shorter clips doubled until they fill one, samples clipped to ±1"
        ),
        compute=functools.partial(opinion, of=short),
    )


DNSMOS = (
    _metric("ovrl", "the speech over all"),
    _metric("sig", "the speech signal"),
    _metric("bak", "the background"),
)
