"""A tiny Transformer method's network and batches, without shards."""

from __future__ import annotations

import torch
from torch import nn

from resyn.codec.base import CodecSpec
from resyn.methods import Method, parse_method
from resyn.models.shape import TransformerShape
from resyn.types import LatentBatch, LatentSpace

SPEC = CodecSpec("synthetic", "0", 24_000, 320, 16, 4, 32)
SHAPE = TransformerShape(num_layers=3, dim=32, num_heads=4, ff_dim=64, conv_kernel=5)


def method_and_network(name: str = "sb") -> tuple[Method, nn.Module]:
    """The method and its network with seeded weights."""
    torch.manual_seed(0)
    method = parse_method({"name": name})
    return method, method.build_network(SPEC, SHAPE)


def latent_batch(items: int, frames: int = 12, dtype: torch.dtype = torch.float32) -> LatentBatch:
    """Seeded random latents and codes."""
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(SPEC.codebook_size, (items, 4, frames), generator=generator)
    books = torch.randn(4, SPEC.codebook_size, SPEC.dim, generator=generator, dtype=dtype)
    space = LatentSpace(books, torch.zeros(SPEC.dim).to(dtype), torch.ones(SPEC.dim).to(dtype))
    return LatentBatch(space.embed(codes), codes, space)


def part_of(batch: LatentBatch, first: int, count: int) -> LatentBatch:
    """`count` items from `first` on, in the same space."""
    span = slice(first, first + count)
    return LatentBatch(batch.z[span], batch.codes[span], batch.space)
