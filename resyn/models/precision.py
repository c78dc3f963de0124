"""A network in lower precision, for what works in float32 around it."""

from __future__ import annotations

import torch
from torch import Tensor

from resyn.randomness import SampleRandom
from resyn.types import Network


def in_bfloat16(network: Network, device: torch.device) -> Network:
    """`network` with its matrix products in bfloat16 (autocast on `device`); returns float32."""

    def lowered(
        x: Tensor,
        t: Tensor | None = None,
        cond: Tensor | None = None,
        mask: Tensor | None = None,
        random: SampleRandom | None = None,
    ) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return network(x, t, cond=cond, mask=mask, random=random).float()

    return lowered
