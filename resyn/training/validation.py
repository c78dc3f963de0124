"""Loss and latent error on held-out crops."""

from __future__ import annotations

import torch
from torch import nn

from resyn.codec.base import CodecSpec
from resyn.methods import Method, ResynthesisMethod
from resyn.methods.base import masked_mean
from resyn.randomness import SampleRandom
from resyn.training.data import MicroBatch, to_device
from resyn.types import LatentBatch


@torch.no_grad()
def validate(
    method: Method, network: nn.Module, held: MicroBatch, spec: CodecSpec, device: torch.device
) -> dict[str, float]:
    """`validation_loss`, and for resynthesis `validation_latent_error` at the default NFE.

    The latent error is the mean square of normalised latents: comparable between methods and
    between bridges, which the loss is not.
    """
    training = network.training
    network.eval()
    batch = to_device(held.batch, device)
    output = method.loss(network, batch, SampleRandom(held.seeds, device))
    metrics = {"validation_loss": float(output.per_item.mean())}
    if isinstance(method, ResynthesisMethod) and isinstance(batch, LatentBatch):
        cond = batch.condition(method.num_coarse)
        random = SampleRandom(held.seeds, device)
        latents = method.resynthesize(network, cond, method.default_nfe(spec), random)
        error = (batch.space.normalise(latents) - batch.x0).square().mean(-1)
        metrics["validation_latent_error"] = float(masked_mean(error, batch.mask).mean())
    network.train(training)
    return metrics
