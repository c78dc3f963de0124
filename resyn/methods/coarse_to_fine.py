"""Coarse-to-fine: predict each level's codes from the levels before it (paper, Eq. 2).

All frames of a level are chosen in one pass, as the paper does. Choosing a level in several passes,
surest frames first (MaskGIT), has no place here: training shows the network whole levels only, so
half a level at its input would be nothing that it ever learnt to read.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from resyn.codec.base import CodecSpec
from resyn.methods.base import STRICT, NumCoarse, TransformerMethod, latents_only, masked_mean
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

    sampling_settings: ClassVar[frozenset[str]] = frozenset({"temperature", "top_k"})
    options: ClassVar[frozenset[str]] = frozenset({"top_k"})

    num_coarse: NumCoarse = 1
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Sampling temperature of the codes; 0 takes the most probable."""
    top_k: Annotated[int, Field(ge=0)] = 0
    """Draw among this many most probable codes of each frame; 0 among all. Needs a temperature."""

    def __post_init__(self) -> None:
        if self.top_k and not self.temperature:
            raise ValueError("top_k needs a temperature above 0: without one nothing is drawn")

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

    def max_coarse(self, spec: CodecSpec) -> int:
        """One level at least must be missing."""
        return spec.num_codebooks - 1

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
        if not self.temperature:
            return logits.argmax(-1)
        if 0 < self.top_k < logits.shape[-1]:
            least = logits.topk(self.top_k, dim=-1).values[..., -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        uniform = random.uniform(*logits.shape[1:]).clamp(1e-7, 1 - 1e-7)
        return (logits / self.temperature - uniform.log().neg().log()).argmax(-1)


def prefix_embedding(space: LatentSpace, codes: Tensor, level: Tensor) -> Tensor:
    """Sum of the codebook vectors of each item's first `level` (B,) levels, (B,T,D)."""
    total = torch.zeros(1, device=codes.device)
    for index in range(codes.shape[1] - 1):
        vectors = F.embedding(codes[:, index], space.codebooks[index])
        total = total + vectors * (index < level)[:, None, None]
    return total
