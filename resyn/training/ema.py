"""Averaged weights, evaluated beside the raw ones."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class WeightAverage:
    """Exponential moving average of a network's parameters; buffers follow the network.

    The decay warms up as min(decay, (1 + n) / (10 + n)) after n updates, so that short runs are
    not held back by their random start.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = AveragedModel(network, avg_fn=self._average).requires_grad_(False).eval()

    def _average(self, averaged: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        count = int(updates)
        decay = min(self.decay, (1 + count) / (10 + count))
        return averaged.lerp(current, 1 - decay)

    @property
    def network(self) -> nn.Module:
        """The averaged network."""
        return self.model.module

    def update(self, network: nn.Module) -> None:
        """Take in the weights after an optimiser step."""
        self.model.update_parameters(network)

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers by the network's own names."""
        return self.network.state_dict()

    def load(self, weights: dict[str, Tensor], updates: int) -> None:
        """Continue from a checkpoint after `updates` updates."""
        self.network.load_state_dict(weights)
        self.model.n_averaged.fill_(updates)
