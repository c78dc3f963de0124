"""Every metric by name. A new one on audio is a file here and a line in `AUDIO_METRICS`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from resyn.evaluation.metrics import latent, rtf
from resyn.evaluation.metrics.base import Metric, MetricInfo, Pair, Record, Score
from resyn.evaluation.metrics.dnsmos import DNSMOS
from resyn.evaluation.metrics.estoi import ESTOI
from resyn.evaluation.metrics.log_mel import LOG_MEL
from resyn.evaluation.metrics.pesq import PESQ
from resyn.evaluation.metrics.sharpness import SHARPNESS
from resyn.evaluation.metrics.si_snr import SI_SNR
from resyn.evaluation.metrics.sim import SIM
from resyn.evaluation.metrics.squim import SQUIM
from resyn.evaluation.metrics.visqol import VISQOL
from resyn.evaluation.metrics.weights import NoValueError, Weights, find_weights
from resyn.evaluation.metrics.wer import WER

#: Functions of a reference and an estimate, in the order of the table's columns.
AUDIO_METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (SI_SNR, ESTOI, PESQ, VISQOL, WER, SIM, *DNSMOS, *SQUIM, LOG_MEL, SHARPNESS)
}
#: Every column, those measured during synthesis included.
METRIC_NAMES: tuple[str, ...] = (*AUDIO_METRICS, latent.NAME, rtf.NAME)


def ready_metrics(
    names: Iterable[str], models: Mapping[str, str], device: str = "cpu", download: bool = True
) -> dict[str, Metric]:
    """The metrics on audio among `names`, in the table's order, bound to their models.

    `models` gives a folder or a hub name by metric. A metric whose model cannot be had, or not
    without a download where `download` is False, keeps the reason.
    """
    wanted = set(names)
    chosen = [metric for name, metric in AUDIO_METRICS.items() if name in wanted]
    return {
        metric.name: _ready(metric, models.get(metric.name, ""), device, download)
        for metric in chosen
    }


def _ready(metric: Metric, source: str, device: str, download: bool) -> Metric:
    if metric.files is None or metric.missing_package():
        return metric
    try:
        return metric.bound(find_weights(source, metric.files, download), device)
    except NoValueError as error:
        return replace(metric, obstacle=str(error))


__all__ = [
    "AUDIO_METRICS",
    "METRIC_NAMES",
    "Metric",
    "MetricInfo",
    "NoValueError",
    "Pair",
    "Record",
    "Score",
    "Weights",
    "ready_metrics",
]
