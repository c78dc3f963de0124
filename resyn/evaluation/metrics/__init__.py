"""Every metric by name. A new one on audio is a file here and a line in `AUDIO_METRICS`."""

from __future__ import annotations

from resyn.evaluation.metrics import latent, rtf
from resyn.evaluation.metrics.base import Metric, MetricInfo, NoValueError, Pair, Record, Score
from resyn.evaluation.metrics.estoi import ESTOI
from resyn.evaluation.metrics.log_mel import LOG_MEL
from resyn.evaluation.metrics.pesq import PESQ
from resyn.evaluation.metrics.sharpness import SHARPNESS
from resyn.evaluation.metrics.si_snr import SI_SNR
from resyn.evaluation.metrics.visqol import VISQOL

#: Functions of a reference and an estimate, in the order of the table's columns.
AUDIO_METRICS: dict[str, Metric] = {
    metric.name: metric for metric in (SI_SNR, ESTOI, PESQ, VISQOL, LOG_MEL, SHARPNESS)
}
#: Every column, those measured during synthesis included.
METRIC_NAMES: tuple[str, ...] = (*AUDIO_METRICS, latent.NAME, rtf.NAME)

__all__ = [
    "AUDIO_METRICS",
    "METRIC_NAMES",
    "Metric",
    "MetricInfo",
    "NoValueError",
    "Pair",
    "Record",
    "Score",
]
