"""Floating-point operations of a training step, and the rates that devices can reach."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from resyn.models.shape import TransformerShape
from resyn.models.transformer import Transformer
from resyn.types import NetworkIO

#: Dense bf16 matrix rates with fp32 accumulation, in FLOP/s, by a part of the device's name; the
#: first that fits counts. From NVIDIA's data sheets, which for parts since Ampere often print the
#: rate with sparsity: twice as much.
PEAK_BF16 = {
    "B200": 2250e12,
    "GH200": 989.4e12,
    "H200 NVL": 835.5e12,
    "H200": 989.4e12,
    "H100 NVL": 835.5e12,
    "H100 PCIe": 756e12,
    "H100": 989.4e12,
    "A100": 312e12,
    "A800": 312e12,
    "A30": 165e12,
    "A40": 149.7e12,
    "A10G": 70e12,
    "A10": 125e12,
    "RTX A6000": 154.8e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "RTX 4090": 165.2e12,
    "RTX 3090": 71e12,
}


def peak_bf16(device_name: str) -> float | None:
    """Dense bf16 FLOP/s of a device as `torch.cuda.get_device_name` calls it; None if unknown."""
    return next((peak for part, peak in PEAK_BF16.items() if part in device_name), None)


class StepFlops(NamedTuple):
    """Operations of one step, forward and backward, by what they grow with."""

    frames: float
    """Matrix products of the weights that every frame meets, and the convolution."""
    attention: float
    """Scores and weighted sums: the square of the crop's length."""
    sequences: float
    """State embedding and AdaLN modulation: once per crop."""

    @property
    def total(self) -> float:
        """All of them."""
        return sum(self)


def transformer_step_flops(
    io: NetworkIO, shape: TransformerShape, items: int, frames: int
) -> StepFlops:
    """Operations of `items` crops of `frames` frames through a Transformer and back.

    With N items, T frames, L layers, width d, feed-forward f, kernel k, ends i (in), c (condition)
    and o (out), a multiply-add counting two, the forward pass takes

        frames     2·N·T·(i·d + c·d + k·d + L·(4·d² + 2·d·f) + d·o)
        attention  4·N·T²·d·L
        sequences  2·N·(2·d² + (2·L + 1)·2·d²)

    and the backward pass twice as much: the gradients of weights and of inputs. Inputs of the
    whole network need none, so i, c and the first product of an embedded time count once there.
    Recomputation (fused attention repeats its scores), norms, activations and the optimiser are
    not counted: this is what the model needs, not what a kernel does. It is less than the usual
    6·parameters·frames, which would charge AdaLN, a quarter of the weights, to every frame.
    """
    d, depth = shape.dim, shape.num_layers
    ends = (io.in_dim + io.cond_dim) * d
    inner = shape.conv_kernel * d + depth * (4 * d * d + 2 * d * shape.ff_dim) + d * io.out_dim
    modulation = (2 * depth + 1) * 2 * d * d
    timed = io.timed and not io.num_stages
    embedding = (5 if timed else 6) * d * d
    return StepFlops(
        frames=2.0 * items * frames * (2 * ends + 3 * inner),
        attention=3.0 * 4 * items * frames**2 * d * depth,
        sequences=2.0 * items * (embedding + 3 * modulation),
    )


def step_flops(network: nn.Module, items: int, frames: int) -> float | None:
    """Operations of a step over all `items` crops; None for a network without a formula."""
    if not isinstance(network, Transformer):
        return None
    return transformer_step_flops(network.io, network.shape, items, frames).total
