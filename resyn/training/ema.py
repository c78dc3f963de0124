"""Averaged weights, evaluated beside the raw ones."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """Exponential moving average of a network's parameters; buffers follow the network.

    The decay warms up as min(decay, (1 + n) / (10 + n)) after n updates, so that short runs are
    not held back by their random start. The count is kept on the host, unlike that of torch's
    `AveragedModel`, so that no update waits for the device.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.network = copy.deepcopy(network).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights after an optimiser step; the first are taken as they are."""
        count = self.updates
        decay = min(self.decay, (1 + count) / (10 + count)) if count else 0.0
        averaged: list[Tensor] = list(self.network.parameters())
        current: list[Tensor] = list(network.parameters())
        get_ema_multi_avg_fn(decay)(averaged, current, count)
        for mine, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(theirs)
        self.updates += 1

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers by the network's own names."""
        return self.network.state_dict()

    def load(self, weights: Mapping[str, Tensor], updates: int) -> None:
        """Continue from a checkpoint after `updates` updates."""
        self.network.load_state_dict(weights)
        self.updates = updates
