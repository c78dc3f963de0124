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


#: A draw: the name of a method of SampleRandom and its arguments.
Draw = tuple[str, tuple[int, ...]]


class AheadRandom(SampleRandom):
    """The numbers of `SampleRandom`, of which those in `expected` are drawn and moved at once.

    For a loader's thread: what a training step will draw is known from the step before, and
    drawing it ahead saves the step from waiting for the copy to its device. Another order of
    draws than the expected one gives the right numbers too, only later.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        device: torch.device | str,
        expected: Sequence[Draw],
        move: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__(seeds, device)
        self.seeds, self.move = list(seeds), move
        self.asked: list[Draw] = []
        """What was drawn so far, in order: what to expect next time."""
        self._source = SampleRandom(seeds)
        self._ready = [(draw, move(self._draw(draw))) for draw in expected]

    @property
    def waiting(self) -> list[Tensor]:
        """What was drawn ahead and not asked for yet."""
        return [value for _, value in self._ready]

    def normal(self, *shape: int) -> Tensor:
        """See `SampleRandom`."""
        return self._next(("normal", shape))

    def uniform(self, *shape: int) -> Tensor:
        """See `SampleRandom`."""
        return self._next(("uniform", shape))

    def integers(self, high: int) -> Tensor:
        """See `SampleRandom`."""
        return self._next(("integers", (high,)))

    def _next(self, draw: Draw) -> Tensor:
        if self._ready and self._ready[0][0] == draw:
            value = self._ready.pop(0)[1]
        else:
            if self._ready:
                self._return_to(self.asked)
            value = self.move(self._draw(draw))
        self.asked.append(draw)
        return value

    def _draw(self, draw: Draw) -> Tensor:
        name, arguments = draw
        return getattr(self._source, name)(*arguments)

    def _return_to(self, asked: Sequence[Draw]) -> None:
        """Forget what was drawn ahead: the generators as they were after `asked`."""
        self._ready = []
        self._source = SampleRandom(self.seeds)
        for draw in asked:
            self._draw(draw)
