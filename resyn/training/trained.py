"""A checkpoint's parts for resynthesis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from resyn.codec import Codec, CodecSpec, load_codec
from resyn.errors import UserError
from resyn.methods import ResynthesisMethod, change_sampling, parse_method
from resyn.models.shape import TransformerShape
from resyn.storage import open_storage
from resyn.training.checkpoint import latest_folder, load_checkpoint
from resyn.types import LatentSpace


class TrainedModel(NamedTuple):
    """A method with its network, its latent space and its codec."""

    method: ResynthesisMethod
    network: nn.Module
    space: LatentSpace
    codec: Codec


def load_trained(
    directory: str,
    codec: Codec | None,
    codec_weights: str | None,
    device: str,
    weights: str,
    sampling: Mapping[str, Any],
) -> TrainedModel:
    """The parts in `directory`; for the arguments and what is raised see `Resynthesizer`."""
    checkpoint = load_checkpoint(open_storage(latest_folder(directory)), optimizer=False)
    method = parse_method(checkpoint.config["method"])
    if not isinstance(method, ResynthesisMethod) or checkpoint.space is None:
        raise UserError(f"{directory}: method {method.name!r} does not resynthesise from codes")
    method = change_sampling(method, sampling)
    spec = CodecSpec(**checkpoint.config["codec"])
    codec = codec or load_codec(spec.name, codec_weights, device)
    if codec.spec.weights_sha256 != spec.weights_sha256:
        raise UserError(
            f"{directory}: trained on codec {spec.name} {spec.weights_sha256[:12]}, but "
            f"{codec.spec.name} {codec.spec.weights_sha256[:12]} was loaded; "
            "give its weights with --codec-weights"
        )
    network = method.build_network(spec, TransformerShape(**checkpoint.config["model"]))
    network.load_state_dict(checkpoint.chosen_weights(weights, directory))
    return TrainedModel(method, network, checkpoint.space, codec)
