"""Residual vector quantisation with codebooks learned by moving averages.

Equation 1 of the codec-resynthesis paper; the moving-average learning and the replacement of
dead codes follow SoundStream (Zeghidour et al. 2021, section III-C) and VQ-VAE (appendix A.1).
"""

from __future__ import annotations

from typing import cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

#: A code that fewer than this many frames of a batch choose, on average, is replaced.
DEAD_BELOW = 0.05


def nearest(x: Tensor, codebook: Tensor) -> Tensor:
    """Index of the nearest of `codebook` (V,D) for each row of `x` (N,D), (N,) int64."""
    scores = torch.addmm(codebook.square().sum(1), x, codebook.t(), beta=-0.5)
    return scores.argmax(1)


class Codebook(nn.Module):
    """One level: `vectors` (V,D) follow the mean of the residuals that choose them."""

    def __init__(self, size: int, dim: int, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("vectors", torch.zeros(size, dim))
        self.register_buffer("counts", torch.zeros(size))
        self.register_buffer("sums", torch.zeros(size, dim))
        self.vectors: Tensor
        self.counts: Tensor
        self.sums: Tensor

    @torch.no_grad()
    def learn(self, x: Tensor, indices: Tensor) -> None:
        """Move towards the residuals `x` (N,D) that chose `indices` (N,)."""
        chosen = torch.zeros_like(self.counts).index_add_(0, indices, torch.ones_like(x[:, 0]))
        sums = torch.zeros_like(self.sums).index_add_(0, indices, x)
        if dist.is_initialized():
            dist.all_reduce(chosen)
            dist.all_reduce(sums)
        self.counts.lerp_(chosen, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        self.vectors.copy_(self.sums / self.counts.clamp_min(1e-5)[:, None])
        self._replace_dead(x, indices)

    def _replace_dead(self, x: Tensor, indices: Tensor) -> None:
        """Put dead codes where the codebook serves worst: no chance, so ranks and reruns agree."""
        dead = (self.counts < DEAD_BELOW).nonzero()[:, 0]
        if not len(dead):
            return
        error = (x - self.vectors[indices]).square().sum(1)
        worst = error.topk(min(len(dead), len(x) // 2)).indices
        dead, fresh = dead[: len(worst)], x[worst].contiguous()
        if dist.is_initialized():
            dist.broadcast(fresh, src=0)
        self.vectors[dead] = fresh
        self.sums[dead] = fresh
        self.counts[dead] = 1.0

    @torch.no_grad()
    def initialise(self, x: Tensor, iterations: int = 8) -> None:
        """Lloyd's k-means on `x` (N,D), from evenly spaced rows; rank 0's result is everyone's."""
        rows = torch.linspace(0, len(x) - 1, len(self.vectors), device=x.device).long()
        vectors = x[rows].clone()
        for _ in range(iterations):
            indices = nearest(x, vectors)
            counts = torch.bincount(indices, minlength=len(vectors)).to(x)
            sums = torch.zeros_like(vectors).index_add_(0, indices, x)
            filled = counts > 0
            vectors[filled] = sums[filled] / counts[filled, None]
        if dist.is_initialized():
            dist.broadcast(vectors, src=0)
        self.vectors.copy_(vectors)
        self.counts.fill_(1.0)
        self.sums.copy_(vectors)


class ResidualQuantizer(nn.Module):
    """K codebooks of V vectors, each quantising what the levels before it left over."""

    def __init__(self, num_codebooks: int, size: int, dim: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(Codebook(size, dim) for _ in range(num_codebooks))
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool))
        self.initialised: Tensor

    @property
    def codebooks(self) -> Tensor:
        """All vectors, (K,V,D)."""
        return torch.stack([cast(Codebook, level).vectors for level in self.levels])

    def encode(self, z: Tensor) -> Tensor:
        """Eq. 1: `z` (B,T,D) to codes (B,K,T) int64."""
        residual = z.reshape(-1, z.shape[-1])
        codes = []
        for vectors in self.codebooks:
            indices = nearest(residual, vectors)
            residual = residual - vectors[indices]
            codes.append(indices.view(z.shape[:2]))
        return torch.stack(codes, dim=1)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Quantise for training: prefix sums (K,B,T,D) and the commitment loss per item (B,).

        Prefix sum k is the sum of the first k + 1 levels. Learns the codebooks in training mode.
        In float32 throughout, also under autocast.
        """
        # In bfloat16 the moving averages would lose what a batch adds to them.
        with torch.autocast(z.device.type, enabled=False):
            return self._quantise(z.float())

    def _quantise(self, z: Tensor) -> tuple[Tensor, Tensor]:
        residual = z.detach().reshape(-1, z.shape[-1])
        total = torch.zeros_like(residual)
        prefixes, commitment = [], torch.zeros(len(z), device=z.device)
        start = self.training and not bool(self.initialised)
        for module in self.levels:
            level = cast(Codebook, module)
            if start:
                level.initialise(residual)
            indices = nearest(residual, level.vectors)
            chosen = F.embedding(indices, level.vectors)
            if self.training:
                level.learn(residual, indices)
            residual = residual - chosen
            total = total + chosen
            prefix = total.view_as(z)
            prefixes.append(prefix)
            commitment = commitment + (z - prefix).square().mean(dim=(1, 2))
        if start:
            self.initialised.fill_(True)
        return torch.stack(prefixes), commitment / len(self.levels)
