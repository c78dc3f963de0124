"""Quick ESTOI for validations while a model trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from resyn.codec import Codec, CodecSpec, load_codec
from resyn.config.train import TrainConfig
from resyn.errors import UserError
from resyn.evaluation.metrics import AUDIO_METRICS, Pair
from resyn.methods import ResynthesisMethod
from resyn.training.validation import Listener

METRIC = AUDIO_METRICS["estoi"]


def estoi_listener(
    config: TrainConfig, spec: CodecSpec, device: torch.device
) -> tuple[Listener | None, str]:
    """What measures ESTOI in validations, or None and the reason why nothing does.

    Scores are taken at the codec's rate: the metric resamples by itself.
    """
    count = config.run.validation_utterances
    if not count:
        return None, "run.validation_utterances is 0"
    if spec.random_weights:
        return None, f"codec {spec.name} has random weights"
    codec = None
    if isinstance(config.typed_method, ResynthesisMethod):
        try:
            codec = _codec(config, spec, device)
        except UserError as error:
            return None, str(error)
    return Listener(METRIC.name, score, count, codec), ""


def score(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float | None:
    """ESTOI of an estimate (S,) at `sample_rate` Hz; None where it has no value."""
    return METRIC.score(Pair(reference, estimate, sample_rate)).value


def _codec(config: TrainConfig, spec: CodecSpec, device: torch.device) -> Codec:
    """The shards' codec. Raises UserError when it is not at hand: training downloads nothing."""
    weights = config.run.codec_weights
    if spec.name == "encodec_24khz" and weights is None:
        from resyn.codec.encodec import CHECKPOINT

        if not (Path(torch.hub.get_dir()) / "checkpoints" / CHECKPOINT).is_file():
            raise UserError(
                f"the weights of {spec.name} are not on this machine; "
                "--set run.codec_weights=FILE names them"
            )
    codec = load_codec(spec.name, weights, str(device))
    if codec.spec.weights_sha256 != spec.weights_sha256:
        raise UserError(
            f"run.codec_weights: the shards were made with {spec.name} "
            f"{spec.weights_sha256[:12]}, not {codec.spec.weights_sha256[:12]}"
        )
    return codec
