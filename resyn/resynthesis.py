"""The public face: coarse codes in, waveform out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resyn.audio.resample import resample
from resyn.codec import Codec, CodecSpec, load_codec
from resyn.errors import UserError
from resyn.methods import ResynthesisMethod, parse_method
from resyn.models.shape import TransformerShape
from resyn.randomness import SampleRandom
from resyn.storage import open_storage
from resyn.training.checkpoint import Checkpoint, latest_folder, load_checkpoint
from resyn.types import Audio, Condition, LatentSpace


class Resynthesizer:
    """A trained method with its network, its latent space and the codec that decodes.

    >>> model = Resynthesizer.from_checkpoint("runs/sb")
    >>> audio = model.resynthesize(codes, nfe=4, seed=0)
    """

    def __init__(
        self,
        method: ResynthesisMethod,
        network: nn.Module,
        space: LatentSpace,
        codec: Codec,
        device: str = "cpu",
    ) -> None:
        self.method = method
        self.network = network.eval().requires_grad_(False).to(device)
        self.space = space.to(device)
        self.codec = codec
        self.device = torch.device(device)

    @classmethod
    def from_checkpoint(
        cls,
        directory: str,
        *,
        codec: Codec | None = None,
        codec_weights: str | None = None,
        device: str = "cpu",
        weights: str = "ema",
    ) -> Resynthesizer:
        """Load a checkpoint's folder, or the newest one of a run's folder.

        `weights` is "ema" (the raw ones where none were averaged) or "raw". The codec is loaded
        by the name in the checkpoint unless `codec` is given, and must be the one the model was
        trained on. Raises UserError for a damaged folder, a model that does not resynthesise, a
        codec that differs, or weights that are not finite.
        """
        checkpoint = load_checkpoint(open_storage(latest_folder(directory)), optimizer=False)
        method = parse_method(checkpoint.config["method"])
        if not isinstance(method, ResynthesisMethod) or checkpoint.space is None:
            raise UserError(f"{directory}: method {method.name!r} does not resynthesise from codes")
        spec = CodecSpec(**checkpoint.config["codec"])
        codec = codec or load_codec(spec.name, codec_weights, device)
        if codec.spec.weights_sha256 != spec.weights_sha256:
            raise UserError(
                f"{directory}: trained on codec {spec.name} {spec.weights_sha256[:12]}, but "
                f"{codec.spec.name} {codec.spec.weights_sha256[:12]} was loaded; "
                "give its weights with --codec-weights"
            )
        shape = TransformerShape(**checkpoint.config["model"])
        network = method.build_network(spec, shape)
        network.load_state_dict(_weights(checkpoint, weights, directory))
        return cls(method, network, checkpoint.space, codec, device)

    @property
    def spec(self) -> CodecSpec:
        """The codec's identity and geometry."""
        return self.codec.spec

    @property
    def num_coarse(self) -> int:
        """Coarse levels that the model takes, c."""
        return self.method.num_coarse

    @property
    def max_nfe(self) -> int:
        """The largest number of network evaluations."""
        return self.method.max_nfe(self.spec)

    @property
    def default_nfe(self) -> int:
        """The number of network evaluations when none is asked for."""
        return self.method.default_nfe(self.spec)

    def check_nfe(self, nfe: int) -> int:
        """`nfe` itself. Raises UserError outside 1 … `max_nfe`."""
        if not 1 <= nfe <= self.max_nfe:
            raise UserError(
                f"--nfe {nfe}: {self.method.name} takes 1 to {self.max_nfe} network evaluations"
            )
        return nfe

    @torch.inference_mode()
    def latents(
        self, codes: Tensor, nfe: int, seeds: Sequence[int], mask: Tensor | None = None
    ) -> Tensor:
        """Coarse codes (B,c,T) to latents (B,T,D) in codec units; item b depends on seeds[b]."""
        self._check_codes(codes)
        cond = Condition(codes[:, : self.num_coarse].to(self.device), self.space, mask)
        random = SampleRandom(list(seeds), self.device)
        return self.method.resynthesize(self.network, cond, self.check_nfe(nfe), random)

    def resynthesize(self, codes: np.ndarray, nfe: int | None = None, seed: int = 0) -> Audio:
        """Coarse codes (c,T) or (T,) to a waveform at the codec's rate, T · hop samples.

        More levels than the model takes are ignored. Raises UserError for codes out of range,
        of a wrong shape or without frames, and for an NFE out of range.
        """
        levels = np.atleast_2d(np.asarray(codes))
        batch = torch.from_numpy(levels.astype(np.int64))[None]
        latents = self.latents(batch, self.default_nfe if nfe is None else nfe, [seed])
        return self.decode(latents)

    def decode(self, latents: Tensor) -> Audio:
        """Latents (1,T,D) to a waveform."""
        samples = self.codec.decode(latents)[0, 0].float().cpu().numpy()
        return Audio(samples, self.spec.sample_rate)

    def coarse_codes(self, audio: Audio) -> np.ndarray:
        """Encode `audio` (any rate) and keep the coarse levels, (c,T) int64."""
        samples = resample(audio, self.spec.sample_rate).samples
        missing = -len(samples) % self.spec.hop
        padded = torch.from_numpy(np.pad(samples, (0, missing)))[None, None]
        return self.codec.encode(padded).codes[0, : self.num_coarse].cpu().numpy()

    def _check_codes(self, codes: Tensor) -> None:
        if codes.ndim != 3 or codes.shape[1] < self.num_coarse or not codes.shape[2]:
            raise UserError(
                f"codes: need at least {self.num_coarse} levels and one frame, got shape "
                f"{tuple(codes.shape[1:])} as (levels, frames)"
            )
        low, high = int(codes.min()), int(codes.max())
        if low < 0 or high >= self.spec.codebook_size:
            raise UserError(
                f"codes: values from {low} to {high} lie outside 0 … {self.spec.codebook_size - 1} "
                f"of codec {self.spec.name}"
            )


def _weights(checkpoint: Checkpoint, kind: str, where: str) -> dict[str, Any]:
    """Averaged or raw weights. Raises UserError when one is not finite."""
    if kind not in ("ema", "raw"):
        raise UserError(f"weights: must be 'ema' or 'raw', got {kind!r}")
    weights = checkpoint.ema if kind == "ema" and checkpoint.ema else checkpoint.weights
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise UserError(f"{where}: weight {name!r} is not finite; use an earlier checkpoint")
    return weights
