"""Embeddings of time and of position."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sinusoid(t: Tensor, dim: int, scale: float = 1000.0, longest: float = 10_000.0) -> Tensor:
    """Sinusoidal embedding (Vaswani et al. 2017) of `t` (B,) in [0, 1] times `scale`: (B,dim)."""
    half = dim // 2
    rates = torch.exp(-math.log(longest) * torch.arange(half, device=t.device) / half)
    angles = scale * t.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def rotary_angles(num_frames: int, head_dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of rotary position embedding (Su et al. 2021), (T,head_dim/2) each."""
    rates = 10_000.0 ** (-torch.arange(0, head_dim, 2, device=device) / head_dim)
    angles = torch.arange(num_frames, device=device)[:, None] * rates
    return angles.cos(), angles.sin()


def rotate(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the two halves of each head's features: `x` (B,H,T,head_dim).

    In float32 at least: bfloat16 would blur the angles of late frames.
    """
    cos, sin = (a.to(torch.promote_types(x.dtype, a.dtype)) for a in angles)
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
    return turned.to(x.dtype)
