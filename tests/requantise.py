"""Codes made anew from z, by the definition of a residual quantiser."""

from __future__ import annotations

import torch
from torch import Tensor


def requantised(z: Tensor, codebooks: Tensor) -> Tensor:
    """z (T,D) and codebooks (K,V,D), float32, to codes (K,T): each level's nearest vector."""
    codes, rest = [], z
    for book in codebooks:
        codes.append(torch.cdist(rest, book).argmin(dim=1))
        rest = rest - book[codes[-1]]
    return torch.stack(codes)
