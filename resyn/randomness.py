"""One random generator per sample, so that results depend on neither batch nor world size.

The idea is that of edm2's StackedRandomGenerator (NVlabs/edm2, generate_images.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from any printable parts; equal parts give equal seeds on every machine."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class SampleRandom:
    """A row of independent generators, one for each item of a batch.

    Drawn on the CPU and moved, so that every device sees the same numbers.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __len__(self) -> int:
        return len(self.generators)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal draws, (B, *shape) float32."""
        return self._stack(torch.randn, shape)

    def uniform(self, *shape: int) -> Tensor:
        """Draws from [0, 1), (B, *shape) float32."""
        return self._stack(torch.rand, shape)

    def integers(self, high: int) -> Tensor:
        """One draw per item from 0 … high-1, (B,) int64."""
        rows = [torch.randint(high, (), generator=g) for g in self.generators]
        return torch.stack(rows).to(self.device)

    def _stack(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        return torch.stack([draw(shape, generator=g) for g in self.generators]).to(self.device)


class PaddedRandom(SampleRandom):
    """For items of different `lengths`, padded on the right to one: draws of shape (B,T,...).

    Each item draws for its own frames alone and gets zeros beyond them, so that it sees the
    numbers that it would see without a batch.
    """

    def __init__(
        self, seeds: Sequence[int], lengths: Sequence[int], device: torch.device | str = "cpu"
    ) -> None:
        super().__init__(seeds, device)
        self.lengths = list(lengths)

    def _stack(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        rows = torch.zeros(len(self), *shape)
        for row, generator, length in zip(rows, self.generators, self.lengths, strict=True):
            row[:length] = draw((length, *shape[1:]), generator=generator)
        return rows.to(self.device)


class FrameRandom(SampleRandom):
    """For one stretch of a longer item, from frame `start`: draws of shape (1,T,...).

    The numbers belong to the item's seed, the place in the order of draws and the frame, so that
    stretches which overlap see the same numbers where they do.
    """

    BLOCK = 64
    """Frames that share a generator."""

    def __init__(self, seed: int, start: int, device: torch.device | str = "cpu") -> None:
        super().__init__([seed], device)
        self.seed, self.start, self.draws = seed, start, 0

    def _stack(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        frames, *rest = shape
        first, offset = divmod(self.start, self.BLOCK)
        last = -(-(self.start + frames) // self.BLOCK)
        blocks = []
        for block in range(first, last):
            seed = derive_seed(self.seed, "frames", self.draws, block)
            generator = torch.Generator().manual_seed(seed)
            blocks.append(draw((self.BLOCK, *rest), generator=generator))
        self.draws += 1
        return torch.cat(blocks)[None, offset : offset + frames].to(self.device)
