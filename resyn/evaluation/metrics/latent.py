"""Error of latents, where the methods work: before any decoder."""

from __future__ import annotations

import torch
from torch import Tensor

import resyn
from resyn.evaluation.metrics.base import MetricInfo, Score

NAME = "latent_error"


def latent_error(estimate: Tensor, z: Tensor, std: Tensor) -> Score:
    """Mean of ((ẑ - z) / std)² over frames and channels.

    `estimate` and `z` (T,D) in codec units; `std` (D,) of z on the training shards. 0 for z
    itself; 1 for a guess of the training mean, on speech like the training's.
    """
    value = ((estimate - z) / std).double().square().mean()
    if not torch.isfinite(value):
        return Score(value=None, reason="the latents are not finite")
    return Score(value=value.item())


def info(codec_rate: int, frame_rate: float) -> MetricInfo:
    """What the column means for a codec at `codec_rate` Hz and `frame_rate` frames per second."""
    return MetricInfo(
        name=NAME,
        title="Latent error",
        unit="",
        better="lower",
        digits=3,
        sample_rate=codec_rate,
        package="resyn",
        version=resyn.__version__,
        definition=(
            "mean of ((ẑ − z) / std)² over frames and channels, std per channel of z on the "
            f"training shards, latents at {frame_rate:g} Hz"
        ),
    )
