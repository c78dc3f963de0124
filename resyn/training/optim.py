"""Learning rate and parameter groups."""

from __future__ import annotations

import torch
from torch import nn

from resyn.config.train import OptimSettings


def learning_rate(step: int, settings: OptimSettings, total_steps: int) -> float:
    """Linear warm-up to the peak, then linear decay that reaches 0 at `total_steps`.

    `step` counts from 0 and is the step about to be taken (paper, appendix A.1).
    """
    warmup = min(settings.warmup_steps, total_steps)
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    return settings.lr * (total_steps - step) / max(1, total_steps - warmup)


def build_optimizer(network: nn.Module, settings: OptimSettings) -> torch.optim.AdamW:
    """AdamW over all parameters, in their order; fused into a few kernels on a GPU.

    The parameters must be on their device already. On a CPU the fused kernel rounds otherwise
    than the plain loop, for a hundredth of a step's time: not worth other results than before.
    """
    parameters = list(network.parameters())
    return torch.optim.AdamW(
        parameters,
        lr=settings.lr,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=all(parameter.device.type == "cuda" for parameter in parameters),
    )
