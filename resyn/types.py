"""The shape legend of the whole project.

B batch, K codebooks, c coarse codebooks given, V codebook size, T frames, D latent width,
S samples. `z` (B,T,D) is the pre-quantised embedding, which is `x0` of the bridge; `x1`
(B,T,D) the embedding of the coarse codes; `xt` a point between them; `nfe` the number of
network evaluations.

Imports torch when a tensor is worked on and not before: a process that only reads or writes audio
would spend seconds on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from resyn.randomness import SampleRandom


@dataclass(frozen=True, slots=True)
class Audio:
    """Mono audio: `samples` (S,) float32, nominally in [-1, 1], at `sample_rate` Hz."""

    samples: np.ndarray
    sample_rate: int

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True, slots=True)
class CodecFrames:
    """What a codec makes of audio: `z` (B,T,D) float and `codes` (B,K,T) int64."""

    z: Tensor
    codes: Tensor


@dataclass(frozen=True, slots=True)
class LatentSpace:
    """A codec's latent space as the methods see it.

    `codebooks` (K,V,D) float32 in the codec's own units; `mean` and `std` (D,) of `z` measured
    on the training shards. Networks work on normalised latents; the codec on its own units.
    """

    codebooks: Tensor
    mean: Tensor
    std: Tensor

    def normalise(self, z: Tensor) -> Tensor:
        """Codec units (..., D) to zero mean and unit variance per channel."""
        return (z - self.mean) / self.std

    def denormalise(self, z: Tensor) -> Tensor:
        """Inverse of `normalise`."""
        return z * self.std + self.mean

    def embed(self, codes: Tensor) -> Tensor:
        """Sum of the codebook vectors of `codes` (B,k,T), k <= K, in codec units: (B,T,D)."""
        import torch.nn.functional as F

        total = F.embedding(codes[:, 0], self.codebooks[0])
        for level in range(1, codes.shape[1]):
            total = total + F.embedding(codes[:, level], self.codebooks[level])
        return total

    def to(self, device: torch.device | str) -> LatentSpace:
        """The same space with its tensors on `device`."""
        moved = {n: getattr(self, n).to(device) for n in ("codebooks", "mean", "std")}
        return replace(self, **moved)


@dataclass(frozen=True, slots=True)
class Condition:
    """What resynthesis starts from: `codes` (B,c,T) int64, and `mask` (B,T), True on real frames.

    `mask` is None when every frame is real. `start` (B,T,D), in codec units, is another model's
    estimate of z, for methods whose walk may leave from it; else None.
    """

    codes: Tensor
    space: LatentSpace
    mask: Tensor | None = None
    start: Tensor | None = None

    @property
    def x1(self) -> Tensor:
        """Normalised embedding of the coarse codes, (B,T,D)."""
        return self.space.normalise(self.space.embed(self.codes))


@dataclass(frozen=True, slots=True)
class LatentBatch:
    """Training crops: `z` (B,T,D) in codec units, `codes` (B,K,T), `mask` (B,T) or None."""

    z: Tensor
    codes: Tensor
    space: LatentSpace
    mask: Tensor | None = None

    @property
    def x0(self) -> Tensor:
        """Normalised target, (B,T,D)."""
        return self.space.normalise(self.z)

    def condition(self, num_coarse: int) -> Condition:
        """The first `num_coarse` levels as a condition."""
        return Condition(self.codes[:, :num_coarse], self.space, self.mask)


@dataclass(frozen=True, slots=True)
class AudioBatch:
    """Training crops of waveforms: `audio` (B,1,S) at the codec's rate."""

    audio: Tensor


@dataclass(frozen=True, slots=True)
class NetworkIO:
    """The ends of a network as a method needs them.

    `in_dim` features enter per frame; `cond_dim` more (0 for none) are projected and added;
    `out_dim` leave. `num_stages` > 0 asks for a learned stage embedding and one output head per
    stage; otherwise `timed` asks for a sinusoidal time embedding, else a constant one.
    """

    in_dim: int
    out_dim: int
    cond_dim: int = 0
    timed: bool = False
    num_stages: int = 0


class Network(Protocol):
    """Any callable that maps frames to frames: a module, an engine, an average, an oracle."""

    def __call__(
        self,
        x: Tensor,
        t: Tensor | None = None,
        cond: Tensor | None = None,
        mask: Tensor | None = None,
        random: SampleRandom | None = None,
    ) -> Tensor:
        """`x` (B,T,in_dim) to (B,T,out_dim).

        `t` (B,) is the time in [0, 1] or the stage index; `cond` (B,T,cond_dim); `mask` (B,T).
        `random` feeds the regularisation of training and is None at inference.
        """
        ...


@dataclass(frozen=True, slots=True)
class LossOutput:
    """`per_item` (B,) to be averaged and differentiated; `metrics` are detached (B,) tensors."""

    per_item: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
