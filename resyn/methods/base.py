"""What a method is: hyper-parameters in a frozen dataclass, a loss, and (most) a resynthesis.

A method owns no weights. The network is an argument, so a bare module, a DeepSpeed engine,
averaged weights and a test's oracle all fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol, runtime_checkable

from pydantic import ConfigDict
from torch import Tensor, nn

from resyn.codec.base import CodecSpec
from resyn.models.shape import TransformerShape
from resyn.models.transformer import Transformer
from resyn.randomness import SampleRandom
from resyn.types import AudioBatch, Condition, LatentBatch, LossOutput, Network, NetworkIO

#: Pydantic settings of every method's dataclass: an unknown hyper-parameter is an error.
STRICT = ConfigDict(extra="forbid")


@runtime_checkable
class Method(Protocol):
    """Anything that `pipelines/train.py --method` trains."""

    name: ClassVar[str]
    """The word on the command line."""
    title: ClassVar[str]
    """The name in tables and on pages."""
    columns: ClassVar[frozenset[str]]
    """Shard columns that training reads, of {"codes", "z", "audio"}."""

    def build_network(self, spec: CodecSpec, shape: TransformerShape) -> nn.Module:
        """A fresh network for latents of `spec`."""
        ...

    def loss(
        self, net: nn.Module, batch: LatentBatch | AudioBatch, random: SampleRandom
    ) -> LossOutput:
        """Loss and metrics per item. `random` holds one generator per item."""
        ...

    def report(self) -> Mapping[str, float]:
        """Derived figures worth logging once per run."""
        ...

    def exports(self, weights: Mapping[str, Tensor]) -> Mapping[str, bytes]:
        """Files, by name, that a finished run leaves beside its checkpoints; mostly none."""
        ...


@runtime_checkable
class ResynthesisMethod(Method, Protocol):
    """A method that turns coarse codes into latents."""

    num_coarse: int
    """Coarse levels given, c >= 1."""

    def network_io(self, spec: CodecSpec) -> NetworkIO:
        """The ends of the network."""
        ...

    def max_nfe(self, spec: CodecSpec) -> int:
        """The largest number of network evaluations that makes sense."""
        ...

    def default_nfe(self, spec: CodecSpec) -> int:
        """The number of evaluations used when none is asked for."""
        ...

    def resynthesize(self, net: Network, cond: Condition, nfe: int, random: SampleRandom) -> Tensor:
        """Latents (B,T,D) in codec units from coarse codes."""
        ...


class TransformerMethod:
    """What the methods on the one Transformer have in common; they supply `network_io`."""

    def network_io(self, spec: CodecSpec) -> NetworkIO:
        """The ends of the network."""
        raise NotImplementedError

    def build_network(self, spec: CodecSpec, shape: TransformerShape) -> nn.Module:
        """A fresh Transformer."""
        return Transformer(self.network_io(spec), shape)

    def report(self) -> Mapping[str, float]:
        """Nothing is derived."""
        return {}

    def exports(self, weights: Mapping[str, Tensor]) -> Mapping[str, bytes]:
        """The checkpoint is all there is."""
        return {}


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over real frames: `values` (B,T) and `mask` (B,T) or None to (B,)."""
    if mask is None:
        return values.mean(-1)
    return (values * mask).sum(-1) / mask.sum(-1).clamp_min(1)


def latents_only(batch: LatentBatch | AudioBatch, name: str) -> LatentBatch:
    """The batch, if it is one of latents. Raises TypeError otherwise."""
    if not isinstance(batch, LatentBatch):
        raise TypeError(f"method {name} trains on LatentBatch, got {type(batch).__name__}")
    return batch
