"""The one network of the three resynthesis methods: a bidirectional Transformer with AdaLN.

Appendix A.1 of the codec-resynthesis paper. Scale and shift come from the time or stage
embedding at both norms of a layer and at the output; positions come from a depthwise
convolution and rotary angles. Layer dropout gates a layer's residual instead of skipping the
layer, so that graphs stay static and every rank runs the same modules.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resyn.models.embeddings import rotary_angles, rotate, sinusoid
from resyn.models.shape import TransformerShape
from resyn.randomness import SampleRandom
from resyn.types import NetworkIO


class AdaptiveNorm(nn.Module):
    """LayerNorm whose scale and shift are linear in an embedding."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(dim, 2 * dim)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """`x` (B,T,C) under `embedding` (B,C)."""
        scale, shift = self.modulation(embedding)[:, None].chunk(2, dim=-1)
        return F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift


class TransformerLayer(nn.Module):
    """Self-attention and feed-forward, pre-norm, each residual times the layer's gate."""

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.num_heads = shape.num_heads
        self.attention_norm = AdaptiveNorm(shape.dim)
        self.qkv = nn.Linear(shape.dim, 3 * shape.dim)
        self.attention_out = nn.Linear(shape.dim, shape.dim)
        self.feed_forward_norm = AdaptiveNorm(shape.dim)
        self.widen = nn.Linear(shape.dim, shape.ff_dim)
        self.narrow = nn.Linear(shape.ff_dim, shape.dim)

    def forward(
        self,
        x: Tensor,
        embedding: Tensor,
        angles: tuple[Tensor, Tensor],
        keys: Tensor | None,
        gate: Tensor | None,
    ) -> Tensor:
        """(B,T,C) to (B,T,C); `keys` (B,1,1,T) marks real frames, `gate` (B,1,1)."""
        attended = self._attend(self.attention_norm(x, embedding), angles, keys)
        x = x + (attended if gate is None else gate * attended)
        hidden = F.gelu(self.widen(self.feed_forward_norm(x, embedding)))
        fed = self.narrow(hidden)
        return x + (fed if gate is None else gate * fed)

    def _attend(self, x: Tensor, angles: tuple[Tensor, Tensor], keys: Tensor | None) -> Tensor:
        batch, frames, _ = x.shape
        qkv = self.qkv(x).view(batch, frames, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(rotate(q, angles), rotate(k, angles), v, keys)
        return self.attention_out(mixed.transpose(1, 2).flatten(2))


class Transformer(nn.Module):
    """Frames to frames under a time, a stage or a constant embedding; see `Network`."""

    def __init__(self, io: NetworkIO, shape: TransformerShape) -> None:
        super().__init__()
        self.io, self.shape = io, shape
        dim = shape.dim
        self.input = nn.Linear(io.in_dim, dim)
        self.condition = nn.Linear(io.cond_dim, dim) if io.cond_dim else None
        kernel = shape.conv_kernel
        self.positions = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        rows = 0 if io.timed and not io.num_stages else max(io.num_stages, 1)
        self.states = nn.Embedding(rows, dim) if rows else None
        self.embedding = nn.Sequential(
            nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim), nn.SiLU()
        )
        self.layers = nn.ModuleList(TransformerLayer(shape) for _ in range(shape.num_layers))
        self.output_norm = AdaptiveNorm(dim)
        heads = max(io.num_stages, 1)
        self.head_weight = nn.Parameter(torch.empty(heads, io.out_dim, dim).normal_(std=0.02))
        self.head_bias = nn.Parameter(torch.zeros(heads, io.out_dim))

    def forward(
        self,
        x: Tensor,
        t: Tensor | None = None,
        cond: Tensor | None = None,
        mask: Tensor | None = None,
        random: SampleRandom | None = None,
    ) -> Tensor:
        """(B,T,in_dim) to (B,T,out_dim); arguments as `resyn.types.Network`."""
        hidden = self.input(x)
        if self.condition is not None and cond is not None:
            hidden = hidden + self.condition(cond)
        if mask is not None:
            hidden = hidden * mask[..., None]
        hidden = hidden + F.gelu(self.positions(hidden.transpose(1, 2))).transpose(1, 2)
        embedding = self._embed(t, len(x), hidden)
        angles = rotary_angles(x.shape[1], self.shape.dim // self.shape.num_heads, x.device)
        keys = None if mask is None else mask[:, None, None]
        gates = self._gates(random, hidden)
        for layer, gate in zip(self.layers, gates, strict=True):
            hidden = layer(hidden, embedding, angles, keys, gate)
        return self._head(self.output_norm(hidden, embedding), t)

    def _embed(self, t: Tensor | None, batch: int, like: Tensor) -> Tensor:
        """The state embedding, (B,C)."""
        if self.states is None:
            if t is None:
                raise ValueError("this network needs a time `t` (B,)")
            return self.embedding(sinusoid(t, self.shape.dim).to(like.dtype))
        rows = t if self.io.num_stages and t is not None else torch.zeros(batch, device=like.device)
        return self.embedding(self.states(rows.long()))

    def _gates(self, random: SampleRandom | None, like: Tensor) -> list[Tensor | None]:
        """Per layer, 1 or 0 for each item, (B,1,1); None where nothing is gated."""
        if not (self.training and random is not None and self.shape.layer_dropout):
            return [None] * self.shape.num_layers
        draws = random.uniform(self.shape.num_layers)
        kept = (draws >= self.shape.layer_dropout).to(like)
        return list(kept.t()[..., None, None])

    def _head(self, hidden: Tensor, t: Tensor | None) -> Tensor:
        """The output projection; with stages, each item's own."""
        if self.io.num_stages and t is not None:
            stage = t.long()
            projected = torch.bmm(hidden, self.head_weight[stage].transpose(1, 2))
            return projected + self.head_bias[stage][:, None]
        return F.linear(hidden, self.head_weight[0], self.head_bias[0])
