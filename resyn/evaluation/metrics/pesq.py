"""Perceptual evaluation of speech quality, wide band (ITU-T P.862.2)."""

from __future__ import annotations

from resyn.evaluation.metrics.base import Metric, Pair


def pesq_wide_band(pair: Pair) -> float:
    """PESQ-WB, 1.04 to 4.64. Raises the package's errors, such as NoUtterancesError."""
    from pesq import pesq

    return float(pesq(pair.sample_rate, pair.reference, pair.estimate, "wb"))


PESQ = Metric(
    name="pesq",
    title="PESQ",
    unit="",
    better="higher",
    digits=2,
    package="pesq",
    definition="wide band (ITU-T P.862.2), MOS-LQO",
    compute=pesq_wide_band,
)
