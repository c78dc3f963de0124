"""No codec at all: for shards that carry audio alone, from which a codec is trained."""

from __future__ import annotations

import torch
from torch import Tensor

from resyn.codec.base import Codec, CodecSpec, EncoderOptions
from resyn.errors import UserError
from resyn.types import CodecFrames


class WaveformCodec:
    """Zero codebooks and a latent of width zero on the 24 kHz, 75 Hz frame grid."""

    spec = CodecSpec("waveform_24khz", "none", 24_000, 320, 0, 0, 0)
    codebooks = torch.zeros(0, 0, 0)

    def encode(self, audio: Tensor) -> CodecFrames:
        """(B,1,S) to empty frames: z (B,T,0), codes (B,0,T)."""
        batch, frames = audio.shape[0], audio.shape[-1] // self.spec.hop
        codes = torch.zeros(batch, 0, frames, dtype=torch.int64)
        return CodecFrames(z=torch.zeros(batch, frames, 0), codes=codes)

    def dequantize(self, codes: Tensor) -> Tensor:
        """There is nothing to sum."""
        return torch.zeros(codes.shape[0], codes.shape[-1], 0)

    def decode(self, latents: Tensor) -> Tensor:
        """Raises UserError: no waveform comes from an empty latent."""
        raise UserError("codec waveform_24khz: it has no decoder; encode with a real codec first")


def load_waveform(weights: str | None, device: str, options: EncoderOptions | None = None) -> Codec:
    """The codec without weights; `weights` is refused, and there is nothing to compute."""
    if weights is not None:
        raise UserError(f"--codec-weights {weights}: waveform_24khz has no weights; drop the flag")
    return WaveformCodec()
