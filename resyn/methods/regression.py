"""One-step regression: predict z from x1 in a single pass (paper, Eq. 3)."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from resyn.codec.base import CodecSpec
from resyn.methods.base import STRICT, NumCoarse, TransformerMethod, latents_only, masked_mean
from resyn.randomness import SampleRandom
from resyn.types import AudioBatch, Condition, LatentBatch, LossOutput, Network, NetworkIO


@dataclass(frozen=True, config=STRICT)
class OneStepRegression(TransformerMethod):
    """‖f(x1) - z‖², the mean square over frames and channels of normalised latents."""

    name: ClassVar[str] = "onestep"
    title: ClassVar[str] = "One-step regression"
    columns: ClassVar[frozenset[str]] = frozenset({"codes", "z"})

    options: ClassVar[frozenset[str]] = frozenset({"residual"})

    num_coarse: NumCoarse = 1
    residual: float = 0.0
    """Above 0, f(x1) is x1 plus this many times the network: the same functions, learned sooner."""

    def network_io(self, spec: CodecSpec) -> NetworkIO:
        """x1 in, z out, a constant embedding."""
        return NetworkIO(in_dim=spec.dim, out_dim=spec.dim)

    def loss(
        self, net: nn.Module, batch: LatentBatch | AudioBatch, random: SampleRandom
    ) -> LossOutput:
        """Eq. 3, squared."""
        batch = latents_only(batch, self.name)
        cond = batch.condition(self.num_coarse)
        error = (self._predict(net, cond, random) - batch.x0).square().mean(-1)
        per_item = masked_mean(error, batch.mask)
        return LossOutput(per_item, {"latent_error": per_item.detach()})

    def max_nfe(self, spec: CodecSpec) -> int:
        """One evaluation is all there is."""
        return 1

    def default_nfe(self, spec: CodecSpec) -> int:
        """One."""
        return 1

    def resynthesize(self, net: Network, cond: Condition, nfe: int, random: SampleRandom) -> Tensor:
        """z (B,T,D) in codec units; deterministic."""
        return cond.space.denormalise(self._predict(net, cond))

    def _predict(
        self, net: nn.Module | Network, cond: Condition, random: SampleRandom | None = None
    ) -> Tensor:
        """f(x1), normalised."""
        made = net(cond.x1, mask=cond.mask, random=random)
        return cond.x1 + self.residual * made if self.residual else made
