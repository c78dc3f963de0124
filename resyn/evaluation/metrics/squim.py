"""SQUIM objective (Kumar et al., 2023): three intrusive scores, guessed without a reference.

The network is torchaudio's. Its weights are not in the package: `--squim` names the published file
or the folder it lies in, which is read as tensors alone.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from resyn.evaluation.metrics.base import Metric, Pair
from resyn.evaluation.metrics.weights import ModelFiles, Weights, opened_once

CHECKPOINT = "squim_objective_dns2020.pth"
FILES = ModelFiles(setting="--squim", patterns=(CHECKPOINT,), needed=(CHECKPOINT,))

#: The network's outputs in its order.
_OUTPUTS = ("stoi", "pesq", "si_sdr")


@opened_once
def _open(folder: str, sha256: str, device: str) -> Any:
    """The network; `sha256` tells apart what `folder` held at different times."""
    import torch
    from torchaudio.models import squim_objective_base

    state = torch.load(Path(folder) / CHECKPOINT, map_location="cpu", weights_only=True)
    network = squim_objective_base()
    network.load_state_dict(state)
    return network.to(device).eval()


@functools.lru_cache(maxsize=1)
def _guesses(samples: bytes, folder: str, sha256: str, device: str) -> dict[str, float]:
    """All three scores of one take; its columns share one computation."""
    import torch

    heard = torch.from_numpy(np.frombuffer(samples, np.float32).copy())
    with torch.inference_mode():
        scores = _open(folder, sha256, device)(heard[None].to(device))
    return {name: float(score) for name, score in zip(_OUTPUTS, scores, strict=True)}


def guess(pair: Pair, weights: Weights, device: str, of: str) -> float:
    """The guessed score `of` the estimate: stoi 0 to 1, pesq 1 to 4.6, si_sdr in dB."""
    samples = pair.estimate.astype(np.float32).tobytes()
    return _guesses(samples, str(weights.here()), weights.sha256, device)[of]


def _metric(short: str, title: str, unit: str = "") -> Metric:
    return Metric(
        name=f"squim_{short}",
        title=f"SQUIM {title}",
        unit=unit,
        better="higher",
        digits=2,
        package="torchaudio",
        definition=f"{title} that SQUIM objective guesses from the resynthesised audio alone",
        compute=functools.partial(guess, of=short),
        files=FILES,
    )


SQUIM = (_metric("stoi", "STOI"), _metric("pesq", "PESQ"), _metric("si_sdr", "SI-SDR", "dB"))
