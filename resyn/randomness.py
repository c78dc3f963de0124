"""One random generator per sample, so that results depend on neither batch nor world size.

The idea is that of edm2's StackedRandomGenerator (NVlabs/edm2, generate_images.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

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
        rows = [torch.randn(shape, generator=g) for g in self.generators]
        return torch.stack(rows).to(self.device)

    def uniform(self, *shape: int) -> Tensor:
        """Draws from [0, 1), (B, *shape) float32."""
        rows = [torch.rand(shape, generator=g) for g in self.generators]
        return torch.stack(rows).to(self.device)

    def integers(self, high: int) -> Tensor:
        """One draw per item from 0 … high-1, (B,) int64."""
        rows = [torch.randint(high, (), generator=g) for g in self.generators]
        return torch.stack(rows).to(self.device)
