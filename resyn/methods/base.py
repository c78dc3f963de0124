"""What a method is: hyper-parameters in a frozen dataclass, a loss, and (most) a resynthesis.

A method owns no weights. The network is an argument, so a bare module, a DeepSpeed engine,
averaged weights and a test's oracle all fit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Protocol, cast, runtime_checkable

from pydantic import ConfigDict, Field
from torch import Tensor, nn

from resyn.codec.base import CodecSpec
from resyn.errors import UserError
from resyn.models.shape import TransformerShape
from resyn.models.transformer import Transformer
from resyn.randomness import SampleRandom
from resyn.types import AudioBatch, Condition, LatentBatch, LossOutput, Network, NetworkIO

#: Pydantic settings of every method's dataclass: an unknown hyper-parameter is an error.
STRICT = ConfigDict(extra="forbid")

#: Coarse levels given, the paper's c (its footnote 2).
NumCoarse = Annotated[int, Field(ge=1)]


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
    takes_start: ClassVar[bool]
    """True when `resynthesize` makes use of the condition's `start`."""

    @property
    def passes(self) -> int:
        """Passes of the network that one evaluation, as NFE counts it, takes."""
        ...

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

    sampling_settings: ClassVar[frozenset[str]] = frozenset()
    """Hyper-parameters that may be changed on a trained model."""
    options: ClassVar[frozenset[str]] = frozenset()
    """Hyper-parameters beyond the paper that do nothing at their defaults; see `recipe_of`."""

    takes_start: ClassVar[bool] = False

    num_coarse: int

    @property
    def passes(self) -> int:
        """One."""
        return 1

    def network_io(self, spec: CodecSpec) -> NetworkIO:
        """The ends of the network."""
        raise NotImplementedError

    def build_network(self, spec: CodecSpec, shape: TransformerShape) -> nn.Module:
        """A fresh Transformer. Raises UserError when `spec` has too few codebooks."""
        most = self.max_coarse(spec)
        if self.num_coarse > most:
            raise UserError(
                f"method.num_coarse {self.num_coarse}: this method takes 1 to {most} of the "
                f"{spec.num_codebooks} codebooks of {spec.name}"
            )
        return Transformer(self.network_io(spec), shape)

    def max_coarse(self, spec: CodecSpec) -> int:
        """The most coarse levels that leave something to do."""
        return spec.num_codebooks

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


def hyper_parameters(method: Method) -> dict[str, Any]:
    """The fields of the method's dataclass, by name."""
    return {field.name: getattr(method, field.name) for field in _fields(method)}


def recipe_of(method: Method) -> dict[str, Any]:
    """Name and hyper-parameters of `method`; `options` only where they differ from the default.

    So an option that is off leaves the fingerprints of earlier recipes as they were.
    """
    options: frozenset[str] = getattr(method, "options", frozenset())
    off = {f.name for f in _fields(method) if getattr(method, f.name) == f.default} & options
    named = {k: v for k, v in hyper_parameters(method).items() if k not in off}
    return {"name": method.name, **named}


def _fields(method: Method) -> tuple[dataclasses.Field[Any], ...]:
    """The dataclass fields; every method is a dataclass, which its protocol cannot say."""
    return dataclasses.fields(cast("Any", method))
