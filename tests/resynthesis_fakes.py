"""A small codec of odd geometry and networks of known answers, for laws of the Resynthesizer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resyn.codec.base import CodecSpec
from resyn.schedules.bridge import BridgeSchedule
from resyn.types import CodecFrames, LatentSpace

LEVELS, SIZE, DIM, HOP = 5, 16, 6, 8
REACH = 2
"""Frames to either side that a frame's codes, or its samples, depend on."""


class SmallCodec:
    """Convolutions over frames of eight samples; 100 frames a second."""

    spec = CodecSpec("small", "5" * 64, 800, HOP, DIM, LEVELS, SIZE)

    def __init__(self) -> None:
        random = torch.Generator().manual_seed(0)
        self.codebooks = torch.randn(LEVELS, SIZE, DIM, generator=random)
        self.codebooks /= torch.arange(1, LEVELS + 1)[:, None, None]
        self.analysis = torch.randn(DIM, HOP, 2 * REACH + 1, generator=random) / 6
        self.synthesis = torch.randn(HOP, DIM, 2 * REACH + 1, generator=random) / 6
        self.decoded: list[int] = []

    def encode(self, audio: Tensor) -> CodecFrames:
        """(B,1,S) to z (B,T,6) and codes (B,5,T)."""
        frames = audio.reshape(len(audio), -1, HOP).transpose(1, 2)
        z = F.conv1d(frames, self.analysis, padding=REACH).transpose(1, 2)
        residual, codes = z, []
        for book in self.codebooks:
            codes.append(torch.cdist(residual, book[None]).argmin(-1))
            residual = residual - book[codes[-1]]
        return CodecFrames(z, torch.stack(codes, dim=1))

    def dequantize(self, codes: Tensor) -> Tensor:
        """Sum of codebook vectors."""
        return space_of(self).embed(codes)

    def decode(self, latents: Tensor) -> Tensor:
        """(B,T,6) to (B,1,8 T)."""
        self.decoded.append(latents.shape[1])
        made = F.conv1d(latents.transpose(1, 2), self.synthesis, padding=REACH)
        return made.transpose(1, 2).reshape(len(latents), 1, -1)


def space_of(codec: SmallCodec) -> LatentSpace:
    """Its latent space, with statistics that are not trivial."""
    return LatentSpace(codec.codebooks, torch.linspace(-0.2, 0.3, DIM), torch.full((DIM,), 0.7))


class Oracle(nn.Module):
    """Knows `z` (B,T,D) and `codes` (B,K,T): answers as a perfect network of `method` would."""

    def __init__(self, method: str, z: Tensor, codes: Tensor, space: LatentSpace, given: int):
        super().__init__()
        self.method, self.given, self.codes, self.calls = method, given, codes, 0
        self.x0 = space.normalise(z)

    def forward(self, x, t=None, cond=None, mask=None, random=None):
        self.calls += 1
        if self.method == "onestep":
            return self.x0
        if self.method == "c2f":
            return F.one_hot(self.codes[:, self.given + int(t[0])], SIZE).float()
        return (x - self.x0) / BridgeSchedule().std(round(float(t[0]) * 1000) - 1)


class LocalNetwork(nn.Module):
    """One convolution over `reach` frames to either side; remembers the lengths of its inputs."""

    def __init__(self, out_dim: int, reach: int) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(reach)
        self.kernel = torch.randn(out_dim, DIM, 2 * reach + 1, generator=random) / (2 * reach + 1)
        self.reach = reach
        self.lengths: list[int] = []

    def forward(self, x, t=None, cond=None, mask=None, random=None):
        self.lengths.append(x.shape[1])
        given = x if cond is None else x + cond
        made = F.conv1d(given.transpose(1, 2), self.kernel, padding=self.reach).transpose(1, 2)
        return made if t is None else made * (1 + t[:, None, None])
