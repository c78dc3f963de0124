"""Loss, latent error and how alike it sounds, on held-out crops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from resyn.codec.base import Codec, CodecSpec
from resyn.methods import Method, ResynthesisMethod
from resyn.methods.base import masked_mean
from resyn.methods.codec_autoencoder import CodecAutoencoder
from resyn.randomness import SampleRandom
from resyn.training.data import MicroBatch, to_device
from resyn.types import AudioBatch, LatentBatch

#: Compares a reference with an estimate, both (S,) float32, at a rate in Hz; None: no value.
Score = Callable[[np.ndarray, np.ndarray, int], float | None]


@dataclass(frozen=True, slots=True)
class Listener:
    """Hears the first `utterances` held-out crops: `score` is a figure called `name`.

    `codec` decodes latents; None where the method makes audio itself.
    """

    name: str
    score: Score
    utterances: int
    codec: Codec | None = None


class Validator:
    """The same figures for any weights of one method, on the same crops with the same noise.

    `listener`, if one is given, costs decoding; one rank is enough to have it. The network runs
    alike with and without: its weights may be divided among ranks, which then all take part.
    """

    def __init__(
        self, method: Method, held: MicroBatch, spec: CodecSpec, device: torch.device
    ) -> None:
        self.method, self.spec, self.device = method, spec, device
        self.batch = to_device(held.batch, device)
        self.seeds = held.seeds
        self.listener: Listener | None = None
        self._reference: list[np.ndarray] | None = None

    @torch.no_grad()
    def measure(self, network: nn.Module) -> dict[str, float]:
        """`loss`, and for resynthesis `latent_error` at the default NFE; what the listener hears.

        The latent error is the mean square of normalised latents: comparable between methods and
        between bridges, which the loss is not. The listener's reference is what the codec makes of
        the true z, or, where the method is a codec, the audio.
        """
        training = network.training
        network.eval()
        output = self.method.loss(network, self.batch, self._random())
        figures = {"loss": float(output.per_item.mean())}
        made = self._made(network)
        if made is not None and isinstance(self.batch, LatentBatch):
            error = (self.batch.space.normalise(made) - self.batch.x0).square().mean(-1)
            figures["latent_error"] = float(masked_mean(error, self.batch.mask).mean())
        if made is not None and self.listener is not None:
            figures |= self._listen(self.listener, made)
        network.train(training)
        return figures

    def _random(self) -> SampleRandom:
        return SampleRandom(self.seeds, self.device)

    def _made(self, network: nn.Module) -> Tensor | None:
        """Latents (B,T,D) or, of a codec, audio (B,1,S); None from a method that makes neither."""
        if isinstance(self.batch, AudioBatch):
            if isinstance(self.method, CodecAutoencoder):
                return self.method.reconstruct(network, self.batch.audio)
            return None
        if not isinstance(self.method, ResynthesisMethod):
            return None
        cond = self.batch.condition(self.method.num_coarse)
        nfe = self.method.default_nfe(self.spec)
        return self.method.resynthesize(network, cond, nfe, self._random())

    def _listen(self, listener: Listener, made: Tensor) -> dict[str, float]:
        count = listener.utterances
        if self._reference is None:
            batch = self.batch
            truth = batch.z if isinstance(batch, LatentBatch) else batch.audio
            self._reference = self._audio(listener, truth[:count])
        pairs = zip(self._reference, self._audio(listener, made[:count]), strict=True)
        rate = self.spec.sample_rate
        scores = [listener.score(reference, estimate, rate) for reference, estimate in pairs]
        known = [score for score in scores if score is not None]
        return {listener.name: sum(known) / len(known)} if known else {}

    def _audio(self, listener: Listener, signal: Tensor) -> list[np.ndarray]:
        """Latents (B,T,D) decoded, or audio (B,1,S) as it is; each item (S,) in its own length."""
        if isinstance(self.batch, AudioBatch):
            return list(signal[:, 0].float().cpu().numpy())
        assert listener.codec is not None
        audio = listener.codec.decode(signal)[:, 0].float().cpu().numpy()
        mask = self.batch.mask
        own = [signal.shape[1]] * len(audio) if mask is None else mask[: len(audio)].sum(1).tolist()
        return [row[: frames * self.spec.hop] for row, frames in zip(audio, own, strict=True)]
