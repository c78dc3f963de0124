"""Every system's take of an utterance: latents, audio, and the seconds they took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from resyn.codec.base import Codec
from resyn.evaluation.metrics import Score
from resyn.evaluation.metrics.latent import latent_error
from resyn.evaluation.systems import GROUND_TRUTH, LATENT, EvaluatedModel, System
from resyn.evaluation.utterances import Utterance
from resyn.randomness import derive_seed
from resyn.types import Audio, CodecFrames


@dataclass(frozen=True, slots=True)
class Take:
    """What a system made of an utterance: `audio`, and the scores that only synthesis knows."""

    audio: Audio
    latent_error: Score
    rtf: Score


class Synthesizer:
    """Runs the systems on one device, one utterance at a time, so that RTF means what it says."""

    def __init__(
        self, codec: Codec, models: Sequence[EvaluatedModel], seed: int, device: str = "cpu"
    ) -> None:
        self._codec = codec
        self._makers = {model.uri: model.resynthesizer for model in models}
        self._seed = seed
        self._device = device
        # One scale for all rows, so that they compare; the models of a run share their shards.
        self._std = models[0].resynthesizer.space.std.cpu() if models else None

    def encode(self, utterance: Utterance) -> CodecFrames:
        """z (1,T,D) and all codes (1,K,T) of an utterance."""
        samples = torch.from_numpy(utterance.audio.samples).view(1, 1, -1)
        with torch.inference_mode():
            return self._codec.encode(samples.to(self._device))

    def warm_up(self, systems: Sequence[System], utterance: Utterance) -> None:
        """Run one system of every kind once, so that first-call costs stay out of the RTF."""
        frames = self.encode(utterance)
        kinds = {system.model or system.group: system for system in reversed(systems)}
        for system in kinds.values():
            self.take(system, utterance, frames)

    def take(self, system: System, utterance: Utterance, frames: CodecFrames) -> Take:
        """The take of `system`. `frames` are the utterance's own."""
        if system.key == GROUND_TRUTH:
            nothing = Score(value=None, reason="the ground truth is not synthesised")
            return Take(utterance.audio, latent_error=nothing, rtf=nothing)
        seed = derive_seed(self._seed, utterance.utt_id)
        began = time.perf_counter()
        with torch.inference_mode():
            latents = self._latents(system, frames, seed)
            decoded = self._codec.decode(latents.to(frames.z.device)).float().cpu()
        seconds = time.perf_counter() - began
        audio = Audio(decoded.view(-1).numpy(), utterance.audio.sample_rate)
        rtf = Score(value=seconds / utterance.audio.seconds)
        return Take(audio, latent_error=self._latent_error(latents, frames.z), rtf=rtf)

    def _latents(self, system: System, frames: CodecFrames, seed: int) -> Tensor:
        if system.model is not None and system.nfe is not None:
            maker = self._makers[system.model]
            return maker.latents(frames.codes[:, : maker.num_coarse], system.nfe, [seed])
        if system.key == LATENT:
            return frames.z
        return self._codec.dequantize(frames.codes[:, : system.num_codebooks])

    def _latent_error(self, latents: Tensor, z: Tensor) -> Score:
        if self._std is None:
            return Score(value=None, reason="no model, so no statistics of training latents")
        return latent_error(latents[0].cpu(), z[0].cpu(), self._std)
