"""A frame-domain neural codec: STFT → ConvNeXt → latent → RVQ → ConvNeXt → inverse STFT.

ConvNeXt blocks (Liu et al. 2022) between an STFT and its inverse, as in Vocos (Siuzdak 2023),
but with compressed real and imaginary parts at both ends. The encoder is causal over frames and
its analysis window reaches 480 samples ahead, so right-padding with zeros leaves earlier frames
unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resyn.codec.quantizer import ResidualQuantizer

#: Exponent of the magnitude compression at the encoder's input.
COMPRESSION = 0.3

#: The decoder's spectrum is its head's output c times |c| to this power: a smooth inverse of
#: compression, which learns phase several times faster than a magnitude and an angle do.
EXPANSION = 1.5

#: Frames that a block's convolution spans.
KERNEL = 7


@dataclass(frozen=True)
class FrameCodecShape:
    """Geometry of the network; widths and depths of encoder and decoder."""

    sample_rate: int = 24_000
    hop: int = 320
    window: int = 1280
    dim: int = 128
    num_codebooks: int = 8
    codebook_size: int = 1024
    encoder_width: int = 192
    encoder_depth: int = 5
    decoder_width: int = 288
    decoder_depth: int = 6


class FrameCodecOutput(NamedTuple):
    """`audio` (B,1,S) and `commitment` (B,)."""

    audio: Tensor
    commitment: Tensor


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over `KERNEL` frames, then a bottleneck of three times the width."""

    def __init__(self, width: int, causal: bool) -> None:
        super().__init__()
        self.padding = (KERNEL - 1, 0) if causal else (KERNEL // 2, KERNEL // 2)
        self.depthwise = nn.Conv1d(width, width, KERNEL, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 3 * width)
        self.narrow = nn.Linear(3 * width, width)
        self.gain = nn.Parameter(torch.full((width,), 0.2))

    def forward(self, x: Tensor) -> Tensor:
        """(B,T,C) to (B,T,C)."""
        mixed = self.depthwise(F.pad(x.transpose(1, 2), self.padding)).transpose(1, 2)
        return x + self.gain * self.narrow(F.gelu(self.widen(self.norm(mixed))))


class FrameCodecNetwork(nn.Module):
    """The whole codec: `encode`, `quantizer`, `decode`; `forward` is the training pass."""

    def __init__(self, shape: FrameCodecShape) -> None:
        super().__init__()
        self.shape = shape
        bins = shape.window // 2 + 1
        wide, deep = shape.encoder_width, shape.encoder_depth
        self.encoder_in = nn.Linear(2 * bins, wide)
        self.encoder = nn.Sequential(*(ConvNeXtBlock(wide, causal=True) for _ in range(deep)))
        self.encoder_out = nn.Sequential(nn.LayerNorm(wide), nn.Linear(wide, shape.dim))
        self.quantizer = ResidualQuantizer(shape.num_codebooks, shape.codebook_size, shape.dim)
        wide, deep = shape.decoder_width, shape.decoder_depth
        self.decoder_in = nn.Linear(shape.dim, wide)
        self.decoder = nn.Sequential(*(ConvNeXtBlock(wide, causal=False) for _ in range(deep)))
        self.decoder_out = nn.Sequential(nn.LayerNorm(wide), nn.Linear(wide, 2 * bins))
        self.register_buffer("hann", torch.hann_window(shape.window), persistent=False)
        self.hann: Tensor

    @property
    def encoder_reach(self) -> tuple[int, int]:
        """Frames before and after a frame on which its latent depends."""
        edge = -(-(self.shape.window - self.shape.hop) // (2 * self.shape.hop))
        return (KERNEL - 1) * self.shape.encoder_depth + edge, edge

    def encode(self, audio: Tensor) -> Tensor:
        """(B,1,S), S a multiple of the hop, to z (B,T,D)."""
        edge = (self.shape.window - self.shape.hop) // 2
        padded = F.pad(audio[:, 0], (edge, edge))
        window, hop = self.shape.window, self.shape.hop
        spectrum = torch.stft(
            padded, window, hop, window=self.hann, center=False, return_complex=True
        ).transpose(1, 2)
        magnitude = spectrum.abs().clamp_min(1e-4)
        compressed = spectrum * magnitude.pow(COMPRESSION - 1)
        features = torch.view_as_real(compressed).flatten(2)
        return self.encoder_out(self.encoder(self.encoder_in(features)))

    def decode(self, latents: Tensor) -> Tensor:
        """(B,T,D) to (B,1,S)."""
        hidden = self.decoder_out(self.decoder(self.decoder_in(latents))).float()
        real, imaginary = hidden.transpose(1, 2).chunk(2, dim=1)
        expansion = (real.square() + imaginary.square() + 1e-4).pow(EXPANSION / 2)
        spectrum = torch.complex(real * expansion, imaginary * expansion)
        return self._overlap_add(spectrum)[:, None]

    def _overlap_add(self, spectrum: Tensor) -> Tensor:
        """Inverse STFT on the encoder's grid: (B,F,T) complex to (B,S)."""
        window, hop, frames = self.shape.window, self.shape.hop, spectrum.shape[-1]
        pieces = torch.fft.irfft(spectrum, n=window, dim=1) * self.hann[:, None]
        length = (frames - 1) * hop + window
        summed = F.fold(pieces, (1, length), (1, window), stride=(1, hop))[:, 0, 0]
        squares = self.hann.square()[None, :, None].expand(1, window, frames)
        norm = F.fold(squares, (1, length), (1, window), stride=(1, hop))[:, 0, 0]
        edge = (window - hop) // 2
        return (summed / norm.clamp_min(1e-3))[:, edge : length - edge]

    def forward(self, audio: Tensor, levels: Tensor) -> FrameCodecOutput:
        """Code and decode `audio` (B,1,S) with `levels` (B,) codebooks each; 0 stands for z.

        The straight-through estimator carries gradients past the quantiser.
        """
        z = self.encode(audio)
        prefixes, commitment = self.quantizer(z)
        items = torch.arange(len(z), device=z.device)
        chosen = prefixes[(levels - 1).clamp_min(0), items]
        quantised = z + (chosen - z).detach()
        latents = torch.where((levels > 0)[:, None, None], quantised, z)
        return FrameCodecOutput(self.decode(latents), commitment)
