"""The public face: coarse codes in, waveform out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resyn.audio.io import AudioBlocks
from resyn.codec import Codec, CodecSpec
from resyn.codec.base import Precision
from resyn.codec.codes import check_codes, item_lengths, read_codes
from resyn.data.coarse import coarse_codes
from resyn.errors import UserError
from resyn.methods import ResynthesisMethod
from resyn.models.precision import in_bfloat16
from resyn.randomness import FrameRandom, PaddedRandom, SampleRandom
from resyn.sampling.chunks import Chunking, decode_stream, stitch
from resyn.training.trained import load_trained
from resyn.types import Audio, Condition, LatentSpace


class Resynthesizer:
    """A trained method with its network, its latent space and the codec that decodes.

    `precision` is that of the network alone: with "bf16" its matrix products are bfloat16 and what
    it returns is float32, as all else is. `starter` makes, at its default NFE, the estimate that
    the method's walk leaves from. Raises UserError for another word, or a starter without use.

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
        precision: Precision = "fp32",
        starter: Resynthesizer | None = None,
    ) -> None:
        if precision not in get_args(Precision):
            raise UserError(f"precision: must be 'fp32' or 'bf16', got {precision!r}")
        wanted = (codec.spec.num_codebooks, codec.spec.codebook_size, codec.spec.dim)
        if tuple(space.codebooks.shape) != wanted:
            raise UserError(
                f"codec {codec.spec.name}: its codebooks are {wanted}, but the model was trained "
                f"on {tuple(space.codebooks.shape)}; load the codec of its training"
            )
        self.method = method
        self.network = network.eval().requires_grad_(False).to(device)
        self.space = space.to(device)
        self.codec = codec
        self.device = torch.device(device)
        self.precision: Precision = precision
        if starter and not (method.takes_start and starter.num_coarse <= method.num_coarse):
            raise UserError(
                f"start model of {starter.num_coarse} coarse levels: {method.name} of "
                f"{method.num_coarse} has no walk that it could start; drop it"
            )
        self.starter = starter

    @classmethod
    def from_checkpoint(
        cls,
        directory: str,
        *,
        codec: Codec | None = None,
        codec_weights: str | None = None,
        device: str = "cpu",
        precision: Precision = "fp32",
        weights: str = "ema",
        sampling: Mapping[str, Any] | None = None,
        start_from: str | None = None,
    ) -> Resynthesizer:
        """Load a checkpoint's folder, or the newest one of a run's folder.

        `weights` is "ema" (the raw ones where none were averaged) or "raw". The codec is loaded
        by the name in the checkpoint unless `codec` is given, and must be the one the model was
        trained on. `sampling` changes sampling settings of the method, such as `{"guidance": 2}`.
        `start_from` is the checkpoint of a `starter`, such as a one-step model.
        Raises UserError for a damaged folder, a model that does not resynthesise, a codec that
        differs, a setting or precision that there is not, or weights that are not finite.
        """
        model = load_trained(directory, codec, codec_weights, device, weights, sampling or {})
        same: dict[str, Any] = {"codec": model.codec, "device": device, "precision": precision}
        starter = cls.from_checkpoint(start_from, weights=weights, **same) if start_from else None
        return cls(*model, device, precision, starter)

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

    def evaluations(self, nfe: int) -> int:
        """Forward passes that `nfe` costs, guidance's and the starter's among them."""
        extra = self.starter.evaluations(self.starter.default_nfe) if self.starter else 0
        return self.method.passes * nfe + extra

    def check_nfe(self, nfe: int) -> int:
        """`nfe` itself. Raises UserError outside 1 … `max_nfe`."""
        if not 1 <= nfe <= self.max_nfe:
            raise UserError(
                f"--nfe {nfe}: {self.method.name} takes 1 to {self.max_nfe} network evaluations"
            )
        return nfe

    def read(self, codes: np.ndarray) -> Tensor:
        """Codes (c,T) or (T,) of an item, checked, as a batch of one: its c coarse levels, int64.

        Raises UserError for codes out of range, of a wrong shape or type or without frames.
        """
        batch = read_codes(codes)
        check_codes(batch, self.spec, self.num_coarse)
        return batch[:, : self.num_coarse]

    @torch.inference_mode()
    def latents(
        self, codes: Tensor, nfe: int, seeds: Sequence[int], mask: Tensor | None = None
    ) -> Tensor:
        """Coarse codes (B,c,T) to latents (B,T,D) in codec units; item b depends on seeds[b].

        `mask` (B,T) is True on each item's own frames, which come first; beyond them the latents
        mean nothing. Raises UserError for codes, mask or seeds that do not fit, or a wrong NFE.
        """
        check_codes(codes, self.spec, self.num_coarse)
        if len(seeds) != len(codes):
            raise UserError(f"seeds: {len(seeds)} for {len(codes)} items; give one for each")
        if mask is None:
            random = SampleRandom(seeds, self.device)
        else:
            random = PaddedRandom(seeds, item_lengths(mask), self.device)
            mask = mask.to(self.device)
        return self._latents(codes, nfe, random, mask)

    def stream(
        self,
        codes: np.ndarray,
        nfe: int | None = None,
        seed: int = 0,
        chunking: Chunking | None = None,
    ) -> Iterator[np.ndarray]:
        """The samples of `resynthesize` in consecutive pieces (·,) as they are made.

        With `chunking`, codes longer than a chunk go through network and decoder in overlapping
        chunks; the codes apart, no more than two chunks or so are held at once. Noise belongs to
        `seed` and the frame, so chunks agree on it where they overlap, but it is not the noise of
        the same call without chunks. What `resynthesize` raises is raised before this returns.
        """
        batch, nfe, frames = self.read(codes), self._nfe(nfe), np.shape(codes)[-1]
        spans = [range(frames)] if chunking is None else chunking.spans(frames)
        if chunking is None or len(spans) == 1:
            return iter([self.decode(self.latents(batch, nfe, [seed])).samples])

        def made(span: range) -> Tensor:
            random = FrameRandom(seed, span.start, self.device)
            return self._latents(batch[:, :, span.start : span.stop], nfe, random, None)

        latents = stitch(map(made, spans), spans)
        pieces = decode_stream(latents, self.codec.decode, self.spec.hop, chunking.overlap)
        return (piece[0, 0].float().cpu().numpy() for piece in pieces)

    def resynthesize(
        self,
        codes: np.ndarray,
        nfe: int | None = None,
        seed: int = 0,
        chunking: Chunking | None = None,
    ) -> Audio:
        """Coarse codes (c,T) or (T,) to a waveform at the codec's rate, T · hop samples.

        More levels than the model takes are ignored. `chunking` bounds the memory; see `stream`.
        Raises UserError as `read` does, and for an NFE out of range.
        """
        samples = np.concatenate(list(self.stream(codes, nfe, seed, chunking)))
        return Audio(samples, self.spec.sample_rate)

    def resynthesize_batch(
        self, codes: Sequence[np.ndarray], nfe: int | None = None, *, seeds: Sequence[int]
    ) -> list[Audio]:
        """`resynthesize` of several items at once: the same waveforms but for rounding.

        `codes` are (c,T) or (T,) each, of any lengths; `seeds` one for each. The network runs on
        all of them together, the decoder on those of equal length. Raises UserError likewise.
        """
        if not codes:
            return []
        items = [self.read(item) for item in codes]
        lengths = torch.tensor([item.shape[2] for item in items])
        longest = int(lengths.max())
        padded = torch.cat([F.pad(item, (0, longest - item.shape[2])) for item in items])
        mask = torch.arange(longest) < lengths[:, None]
        latents = self.latents(padded, self._nfe(nfe), seeds, None if mask.all() else mask)
        made: dict[int, Audio] = {}
        for length in lengths.unique().tolist():
            members = (lengths == length).nonzero()[:, 0].tolist()
            made |= zip(members, self._decode(latents[members, :length]), strict=True)
        return [made[index] for index in range(len(items))]

    def decode(self, latents: Tensor) -> Audio:
        """Latents (1,T,D) to a waveform."""
        return self._decode(latents)[0]

    def coarse_codes(self, audio: Audio | AudioBlocks) -> np.ndarray:
        """Encode `audio` (any rate) and keep the coarse levels, (c,T) int64.

        Blocks are encoded as they come. Raises UserError for audio without samples.
        """
        blocks = iter([audio.samples]) if isinstance(audio, Audio) else audio.blocks
        return coarse_codes(self.codec, blocks, audio.sample_rate, self.num_coarse)

    @torch.inference_mode()
    def _latents(
        self, codes: Tensor, nfe: int, random: SampleRandom, mask: Tensor | None
    ) -> Tensor:
        # A starter that draws has its turn first, from the same generators.
        first = self.starter
        start = first and first._latents(codes, first.default_nfe, random, mask)
        cond = Condition(codes[:, : self.num_coarse].to(self.device), self.space, mask, start)
        lower = self.precision == "bf16"
        network = in_bfloat16(self.network, self.device) if lower else self.network
        return self.method.resynthesize(network, cond, self.check_nfe(nfe), random)

    def _decode(self, latents: Tensor) -> list[Audio]:
        rows = self.codec.decode(latents)[:, 0].float().cpu().numpy()
        return [Audio(row, self.spec.sample_rate) for row in rows]

    def _nfe(self, nfe: int | None) -> int:
        return self.default_nfe if nfe is None else self.check_nfe(nfe)
