"""Real-time factor: what a system costs."""

from __future__ import annotations

import resyn
from resyn.evaluation.metrics.base import MetricInfo

NAME = "rtf"


def info(codec_rate: int, device: str, threads: int) -> MetricInfo:
    """What the column means for a run on `device` with `threads` CPU threads."""
    return MetricInfo(
        name=NAME,
        title="RTF",
        unit="",
        better="lower",
        digits=3,
        sample_rate=codec_rate,
        package="resyn",
        version=resyn.__version__,
        definition=(
            "seconds of method and decoder per second of audio, one utterance at a time, "
            f"on {device} with {threads} CPU thread{'s' if threads > 1 else ''}"
        ),
        is_cost=True,
    )
