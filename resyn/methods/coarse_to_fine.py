"""Coarse-to-fine: predict each level's codes from the levels before it (paper, Eq. 2)."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from resyn.codec.base import CodecSpec
from resyn.methods.base import STRICT, TransformerMethod, latents_only, masked_mean
from resyn.randomness import SampleRandom
from resyn.types import (
    AudioBatch,
    Condition,
    LatentBatch,
    LatentSpace,
    LossOutput,
    Network,
    NetworkIO,
)


@dataclass(frozen=True, config=STRICT)
class CoarseToFine(TransformerMethod):
    """Cross-entropy on one random level per item; one pass per level at synthesis."""

    name: ClassVar[str] = "c2f"
    title: ClassVar[str] = "Coarse-to-fine"
    columns: ClassVar[frozenset[str]] = frozenset({"codes"})

    num_coarse: int = 1
    temperature: float = 0.0
    """Sampling temperature of the codes; 0 takes the most probable."""

    def network_io(self, spec: CodecSpec) -> NetworkIO:
        """Summed codebook vectors in, logits of the next level out, one stage per level."""
        stages = spec.num_codebooks - self.num_coarse
        return NetworkIO(in_dim=spec.dim, out_dim=spec.codebook_size, num_stages=stages)

    def loss(
        self, net: nn.Module, batch: LatentBatch | AudioBatch, random: SampleRandom
    ) -> LossOutput:
        """Eq. 2 as a cross-entropy: level c + 1 + stage given all levels before it."""
        batch = latents_only(batch, self.name)
        num_codebooks = batch.codes.shape[1]
        stage = random.integers(num_codebooks - self.num_coarse)
        level = self.num_coarse + stage
        given = prefix_embedding(batch.space, batch.codes, level)
        logits = net(batch.space.normalise(given), stage, mask=batch.mask, random=random)
        target = batch.codes[torch.arange(len(level), device=level.device), level]
        entropy = F.cross_entropy(logits.transpose(1, 2).float(), target, reduction="none")
        correct = (logits.detach().argmax(-1) == target).float()
        return LossOutput(
            masked_mean(entropy, batch.mask), {"accuracy": masked_mean(correct, batch.mask)}
        )

    def max_nfe(self, spec: CodecSpec) -> int:
        """One evaluation per missing level."""
        return spec.num_codebooks - self.num_coarse

    def default_nfe(self, spec: CodecSpec) -> int:
        """All missing levels."""
        return self.max_nfe(spec)

    def resynthesize(self, net: Network, cond: Condition, nfe: int, random: SampleRandom) -> Tensor:
        """The sum of the given and of `nfe` predicted levels, (B,T,D) in codec units."""
        total = cond.space.embed(cond.codes)
        for stage in range(nfe):
            stages = torch.full((len(total),), stage, device=total.device)
            logits = net(cond.space.normalise(total), stages, mask=cond.mask)
            codes = self._choose(logits, random)
            total = total + F.embedding(codes, cond.space.codebooks[self.num_coarse + stage])
        return total

    def _choose(self, logits: Tensor, random: SampleRandom) -> Tensor:
        """Arg-max, or a draw at `temperature` by the Gumbel trick: (B,T,V) to (B,T)."""
        if self.temperature > 0:
            uniform = random.uniform(*logits.shape[1:]).clamp(1e-7, 1 - 1e-7)
            logits = logits / self.temperature - uniform.log().neg().log()
        return logits.argmax(-1)


def prefix_embedding(space: LatentSpace, codes: Tensor, level: Tensor) -> Tensor:
    """Sum of the codebook vectors of each item's first `level` (B,) levels, (B,T,D)."""
    total = torch.zeros(1, device=codes.device)
    for index in range(codes.shape[1] - 1):
        vectors = F.embedding(codes[:, index], space.codebooks[index])
        total = total + vectors * (index < level)[:, None, None]
    return total
