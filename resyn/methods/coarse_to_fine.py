"""Coarse-to-fine: predict each level's codes from the levels before it (paper, Eq. 2).

All frames of a level are chosen in one pass, as the paper does. As an option beyond it, a level is
chosen in several passes, surest frames first (MaskGIT, Chang et al. 2022); for that the network
must have been trained with `masking`, on levels of which it sees a part.
"""

from __future__ import annotations

import math
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

#: Of the Gumbel noise on the confidence at a temperature of 1, falling to 0 with the passes; the
#: value of MaskGIT's published code.
CONFIDENCE_NOISE = 4.5


@dataclass(frozen=True, config=STRICT)
class CoarseToFine(TransformerMethod):
    """Cross-entropy on one random level per item; one pass per level at synthesis."""

    name: ClassVar[str] = "c2f"
    title: ClassVar[str] = "Coarse-to-fine"
    columns: ClassVar[frozenset[str]] = frozenset({"codes"})

    sampling_settings: ClassVar[frozenset[str]] = frozenset(
        {"temperature", "top_k", "decoding_steps"}
    )
    options: ClassVar[frozenset[str]] = frozenset({"top_k", "decoding_steps", "masking"})

    num_coarse: NumCoarse = 1
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Sampling temperature of the codes; 0 takes the most probable."""
    top_k: Annotated[int, Field(ge=0)] = 0
    """Draw among this many most probable codes of each frame; 0 among all. Needs a temperature."""
    decoding_steps: Annotated[int, Field(ge=1)] = 1
    """Passes per level, each keeping the surest of the frames still open; NFE counts every one."""
    masking: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of training items that are shown a part of the level to predict; above 0, the network
    gets a second input for it, and `decoding_steps` may exceed 1."""

    def __post_init__(self) -> None:
        if self.top_k and not self.temperature:
            raise ValueError("top_k needs a temperature above 0: without one nothing is drawn")
        if self.decoding_steps > 1 and not self.masking:
            raise ValueError("decoding_steps above 1 need a model trained with masking above 0")

    def network_io(self, spec: CodecSpec) -> NetworkIO:
        """Summed codebook vectors in, logits of the next level out, one stage per level.

        With `masking`, the condition is the codebook vectors of the level's known frames and a
        flag that tells them from the others.
        """
        stages = spec.num_codebooks - self.num_coarse
        known = spec.dim + 1 if self.masking else 0
        return NetworkIO(
            in_dim=spec.dim, out_dim=spec.codebook_size, cond_dim=known, num_stages=stages
        )

    def loss(
        self, net: nn.Module, batch: LatentBatch | AudioBatch, random: SampleRandom
    ) -> LossOutput:
        """Eq. 2 as a cross-entropy: level c + 1 + stage given all levels before it.

        With `masking`, over the frames of the level that the network was not shown.
        """
        batch = latents_only(batch, self.name)
        num_codebooks = batch.codes.shape[1]
        stage = random.integers(num_codebooks - self.num_coarse)
        level = self.num_coarse + stage
        given = batch.space.normalise(prefix_embedding(batch.space, batch.codes, level))
        target = batch.codes[torch.arange(len(level), device=level.device), level]
        scored, cond = batch.mask, None
        if self.masking:
            known = self._draw_known(target.shape[1], random)
            cond = known_codes(batch.space, target, level, known)
            scored = ~known if batch.mask is None else batch.mask & ~known
        logits = net(given, stage, cond=cond, mask=batch.mask, random=random)
        entropy = F.cross_entropy(logits.transpose(1, 2).float(), target, reduction="none")
        correct = (logits.detach().argmax(-1) == target).float()
        return LossOutput(masked_mean(entropy, scored), {"accuracy": masked_mean(correct, scored)})

    def _draw_known(self, frames: int, random: SampleRandom) -> Tensor:
        """Frames of the level that are shown, (B,T): cos(πu/2) of them stay open (MaskGIT)."""
        part = random.uniform() < self.masking
        open_share = torch.cos(random.uniform() * math.pi / 2)
        return (random.uniform(frames) >= open_share[:, None]) & part[:, None]

    def max_nfe(self, spec: CodecSpec) -> int:
        """`decoding_steps` evaluations per missing level."""
        return (spec.num_codebooks - self.num_coarse) * self.decoding_steps

    def max_coarse(self, spec: CodecSpec) -> int:
        """One level at least must be missing."""
        return spec.num_codebooks - 1

    def default_nfe(self, spec: CodecSpec) -> int:
        """All missing levels."""
        return self.max_nfe(spec)

    def resynthesize(self, net: Network, cond: Condition, nfe: int, random: SampleRandom) -> Tensor:
        """The sum of the given and of the predicted levels, (B,T,D) in codec units.

        Each level takes `decoding_steps` of the `nfe` evaluations, the last one what is left.
        """
        total = cond.space.embed(cond.codes)
        for stage in range(-(-nfe // self.decoding_steps)):
            steps = min(self.decoding_steps, nfe - stage * self.decoding_steps)
            codes = self._predict_level(net, total, cond, stage, steps, random)
            total = total + F.embedding(codes, cond.space.codebooks[self.num_coarse + stage])
        return total

    def _predict_level(
        self,
        net: Network,
        total: Tensor,
        cond: Condition,
        stage: int,
        steps: int,
        random: SampleRandom,
    ) -> Tensor:
        """Codes (B,T) of a level in `steps` evaluations, the surest frames first."""
        given = cond.space.normalise(total)
        stages = torch.full((len(total),), stage, device=total.device)
        if not self.masking:
            return self._choose(net(given, stages, mask=cond.mask), random)
        level = stages + self.num_coarse
        codes = torch.zeros(total.shape[:2], dtype=torch.int64, device=total.device)
        known = torch.zeros_like(codes, dtype=torch.bool)
        frames = torch.full((len(codes),), codes.shape[1], device=codes.device)
        lengths = frames if cond.mask is None else cond.mask.sum(-1)
        for step in range(1, steps + 1):
            shown = known_codes(cond.space, codes, level, known)
            logits = net(given, stages, cond=shown, mask=cond.mask)
            codes = torch.where(known, codes, self._choose(logits, random))
            chosen = logits.log_softmax(-1).gather(-1, codes[..., None])[..., 0]
            if self.temperature and step < steps:
                # Without it the likelier of two equally good codes would win every utterance.
                spread = CONFIDENCE_NOISE * self.temperature * (1 - step / steps)
                chosen = chosen + spread * gumbel(random.uniform(*chosen.shape[1:]))
            left = (lengths * math.cos(math.pi / 2 * step / steps)).floor().long()
            known = surest(chosen, known, lengths - left if step < steps else lengths, cond.mask)
        return codes

    def _choose(self, logits: Tensor, random: SampleRandom) -> Tensor:
        """Arg-max, or a draw at `temperature` by the Gumbel trick: (B,T,V) to (B,T)."""
        if not self.temperature:
            return logits.argmax(-1)
        if 0 < self.top_k < logits.shape[-1]:
            least = logits.topk(self.top_k, dim=-1).values[..., -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        noise = gumbel(random.uniform(*logits.shape[1:]))
        return (logits / self.temperature + noise).argmax(-1)


def prefix_embedding(space: LatentSpace, codes: Tensor, level: Tensor) -> Tensor:
    """Sum of the codebook vectors of each item's first `level` (B,) levels, (B,T,D)."""
    total = torch.zeros(1, device=codes.device)
    for index in range(codes.shape[1] - 1):
        vectors = F.embedding(codes[:, index], space.codebooks[index])
        total = total + vectors * (index < level)[:, None, None]
    return total


def known_codes(space: LatentSpace, codes: Tensor, level: Tensor, known: Tensor) -> Tensor:
    """What is `known` (B,T) of each item's `level` (B,), as vectors and a flag: (B,T,D+1).

    `codes` (B,T) are the level's own; where they are not known they do not matter.
    """
    vectors = space.codebooks[level[:, None], codes] / space.std
    return torch.cat([vectors, torch.ones_like(vectors[..., :1])], dim=-1) * known[..., None]


def gumbel(uniform: Tensor) -> Tensor:
    """Standard Gumbel draws from uniform ones."""
    return -uniform.clamp(1e-7, 1 - 1e-7).log().neg().log()


def surest(confidence: Tensor, known: Tensor, count: Tensor, mask: Tensor | None) -> Tensor:
    """`known` (B,T) and the surest others, `count` (B,) real frames in all; of equals the first."""
    ranked = confidence.masked_fill(known, torch.inf)
    if mask is not None:
        ranked = ranked.masked_fill(~mask, -torch.inf)
    order = ranked.argsort(dim=-1, descending=True, stable=True)
    place = order.argsort(dim=-1)
    return known | (place < count[:, None])
