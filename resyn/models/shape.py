"""The size of a Transformer, apart from its code so that settings need not import networks."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class TransformerShape(BaseModel):
    """Depth and widths; the defaults are those of the codec-resynthesis paper (appendix A.1)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    num_layers: int = 12
    dim: int = 1024
    num_heads: int = 16
    ff_dim: int = 4096
    layer_dropout: float = 0.05
    """Probability that a layer's residual is gated off for an item during training."""
    conv_kernel: int = 31
    """Frames of the depthwise convolution that encodes positions."""
