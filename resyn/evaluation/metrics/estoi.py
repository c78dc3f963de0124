"""Extended short-time objective intelligibility (Jensen and Taal, 2016)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from resyn.evaluation.metrics.base import Metric, NoValueError, Pair


@contextmanager
def _seeded() -> Iterator[None]:
    """pystoi adds noise of 1e-16 from NumPy's global generator: pin it, so that values repeat."""
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)


def estoi(pair: Pair) -> float:
    """ESTOI, at most 1. Raises NoValueError with less than 0.4 s of speech."""
    from pystoi import stoi

    with _seeded(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reference, estimate = (
            samples.astype(np.float64) for samples in (pair.reference, pair.estimate)
        )
        value = stoi(reference, estimate, pair.sample_rate, extended=True)
    # pystoi warns and returns 1e-5 in place of a value.
    if any("Not enough STFT frames" in str(warning.message) for warning in caught):
        raise NoValueError("less than 0.4 s of speech, too short for ESTOI")
    return float(value)


ESTOI = Metric(
    name="estoi",
    title="ESTOI",
    unit="",
    better="higher",
    digits=3,
    package="pystoi",
    definition="stoi(extended=True); the package itself resamples to 10 kHz",
    compute=estoi,
)
