"""A lossless toy codec, speech-like sound, and models that know the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from resyn.codec.base import CodecSpec
from resyn.types import CodecFrames, LatentSpace

RATE, HOP, LEVELS, SIZE = 24_000, 96, 4, 64


def speech_like(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """A gliding, syllabic harmonic complex over a little noise, (S,) float32."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(110 + 40 * seed + 20 * np.sin(4 * time)) / rate
    voice = sum(np.sin(k * phase + random.uniform(0, 6)) / k for k in range(1, 25))
    syllables = np.clip(np.sin(2 * np.pi * 3.3 * time + seed), 0.05, None)
    sound = voice * syllables + 0.02 * random.standard_normal(len(time))
    return (0.1 * sound).astype(np.float32)


class ToyCodec:
    """Latents are the samples of a frame, so z decodes without loss; codebooks are such frames."""

    def __init__(self, random_weights: bool = False) -> None:
        self.spec = CodecSpec("toy", "0" * 64, RATE, HOP, HOP, LEVELS, SIZE, random_weights)
        residual = torch.from_numpy(speech_like(4.0, RATE, seed=9)).view(-1, HOP)
        books: list[Tensor] = []
        for level in range(LEVELS):
            order = torch.randperm(len(residual), generator=torch.Generator().manual_seed(level))
            # The zero vector in every book: one more level can never make things worse.
            books.append(torch.cat([torch.zeros(1, HOP), residual[order[: SIZE - 1]]]))
            residual = residual - books[-1][torch.cdist(residual, books[-1]).argmin(1)]
        self.codebooks = torch.stack(books)

    def encode(self, audio: Tensor) -> CodecFrames:
        """(1,1,S) to z (1,T,96) and codes (1,4,T)."""
        z = audio.view(-1, HOP)
        residual, codes = z, []
        for book in self.codebooks:
            codes.append(torch.cdist(residual, book).argmin(1))
            residual = residual - book[codes[-1]]
        return CodecFrames(z[None], torch.stack(codes)[None])

    def dequantize(self, codes: Tensor) -> Tensor:
        """Sum of codebook vectors."""
        return sum((self.codebooks[i][codes[:, i]] for i in range(codes.shape[1])), torch.zeros(1))

    def decode(self, latents: Tensor) -> Tensor:
        """The frames in a row."""
        return latents.reshape(latents.shape[0], 1, -1)


@dataclass(frozen=True)
class Word:
    """The part of a method that evaluation reads."""

    name: str
    title: str
    passes: int = 1


@dataclass
class KnowingModel:
    """Looks the utterance up by its coarse codes and calls `answer(frames, x1, nfe, seed)`."""

    method: Word
    max_nfe: int
    space: LatentSpace
    known: dict[bytes, CodecFrames]
    answer: Callable[[CodecFrames, Tensor, int, int], Tensor]
    num_coarse: int = 1

    def latents(self, codes: Tensor, nfe: int, seeds: Sequence[int]) -> Tensor:
        """(1,c,T) to (1,T,D)."""
        frames = self.known[codes.numpy().tobytes()]
        return self.answer(frames, self.space.embed(codes), nfe, seeds[0])
