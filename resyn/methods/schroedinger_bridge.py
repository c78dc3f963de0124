"""Codec Schrödinger Bridge: iterative transport from x1 to z (paper, Eqs. 4–6)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from resyn.codec.base import CodecSpec
from resyn.methods.base import STRICT, NumCoarse, TransformerMethod, latents_only, masked_mean
from resyn.randomness import SampleRandom
from resyn.sampling.bridge import walk_bridge
from resyn.schedules.bridge import BridgeMode, BridgeSchedule, GridSpacing
from resyn.types import AudioBatch, Condition, LatentBatch, LossOutput, Network, NetworkIO


@dataclass(frozen=True, config=STRICT)
class SchroedingerBridge(TransformerMethod):
    """The bridge's schedule and the scale of the latents it works on."""

    name: ClassVar[str] = "sb"
    title: ClassVar[str] = "Schrödinger Bridge"
    columns: ClassVar[frozenset[str]] = frozenset({"codes", "z"})

    sampling_settings: ClassVar[frozenset[str]] = frozenset({"grid", "start", "guidance"})
    options: ClassVar[frozenset[str]] = sampling_settings | {"condition_dropout", "start_share"}

    takes_start: ClassVar[bool] = True

    num_coarse: NumCoarse = 1
    mode: BridgeMode = "i2sb"
    beta_max: float = 0.3
    num_steps: int = 1000
    latent_scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Factor on normalised latents; larger means less noise relative to the signal."""
    start_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the items trained at x1 itself, where every walk starts, beyond the paper's uniform
    draw: it makes one evaluation good after little training."""
    ode: bool = False
    """Drop the noise in marginal and posterior alike."""
    grid: GridSpacing = "uniform"
    """How the steps of a walk are spread; `quadratic` and `sigma` are denser near z."""
    start: Literal["x1", "estimate"] = "x1"
    """Where a walk leaves from: x1, or the estimate that its own first evaluation makes there. A
    condition with a `start`, such as a one-step model's estimate, puts that in x1's place."""
    guidance: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    """Classifier-free guidance (Ho and Salimans 2022): 1 is none, 0 ignores the condition. Any
    other value than 1 costs a second evaluation per step, which NFE does not count, but
    `evaluations` does."""
    condition_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of training items whose condition x1 is zero (the mean latent); guidance needs some."""

    def __post_init__(self) -> None:
        _ = self.schedule
        if self.guidance != 1 and not self.condition_dropout:
            raise ValueError("guidance needs a model trained with condition_dropout above 0")

    @cached_property
    def schedule(self) -> BridgeSchedule:
        """The tables in float64."""
        return BridgeSchedule(self.mode, self.beta_max, self.num_steps)

    @property
    def passes(self) -> int:
        """Two with guidance: with the condition and without."""
        return 1 if self.guidance == 1 else 2

    def network_io(self, spec: CodecSpec) -> NetworkIO:
        """x_t in, ε out, x1 as the condition at every t (paper, appendix A.1)."""
        return NetworkIO(in_dim=spec.dim, out_dim=spec.dim, cond_dim=spec.dim, timed=True)

    def loss(
        self, net: nn.Module, batch: LatentBatch | AudioBatch, random: SampleRandom
    ) -> LossOutput:
        """Eq. 6, squared, at one step per item, uniformly drawn but for `start_share`."""
        batch = latents_only(batch, self.name)
        cond = batch.condition(self.num_coarse)
        x0, x1 = self.latent_scale * batch.x0, self.latent_scale * cond.x1
        steps = random.integers(self.num_steps)
        if self.start_share:
            starts = random.uniform() < self.start_share
            steps = torch.where(starts, self.num_steps - 1, steps)
        weight_x0, weight_x1, std, sigma, t = self._tables(steps, x0)
        xt = weight_x0 * x0 + weight_x1 * x1
        if not self.ode:
            xt = xt + std * random.normal(*x0.shape[1:])
        given = x1
        if self.condition_dropout:
            given = x1 * (random.uniform() >= self.condition_dropout)[:, None, None]
        predicted = net(xt, t, given, cond.mask, random)
        error = (predicted - (xt - x0) / sigma).square().mean(-1)
        latent = (xt - sigma * predicted - x0).detach().square().mean(-1) / self.latent_scale**2
        return LossOutput(
            masked_mean(error, batch.mask), {"latent_error": masked_mean(latent, batch.mask)}
        )

    def _tables(self, steps: Tensor, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Marginal weights, its std, σ_t (each (B,1,1)) and t (B,) at `steps` (B,)."""
        table = _marginals(self.schedule, like.device, like.dtype)
        weight_x0, weight_x1, std, sigma = table[steps].t()[..., None, None]
        return weight_x0, weight_x1, std, sigma, (steps + 1).to(like) / self.num_steps

    def max_nfe(self, spec: CodecSpec) -> int:
        """One evaluation per step of the schedule: the paper's T."""
        return self.num_steps

    def default_nfe(self, spec: CodecSpec) -> int:
        """Four: the paper's least cost with better similarity than one step (Table 1)."""
        return 4

    def resynthesize(self, net: Network, cond: Condition, nfe: int, random: SampleRandom) -> Tensor:
        """z (B,T,D) in codec units in `nfe` steps, reproducible per item from its seed."""
        x1 = self.latent_scale * cond.x1
        given = cond.start
        start = x1 if given is None else self.latent_scale * cond.space.normalise(given)

        def predict_x0(xt: Tensor, step: int) -> Tensor:
            t = torch.full((len(xt),), (step + 1) / self.num_steps, device=xt.device)
            epsilon = net(xt, t, x1, cond.mask)
            if self.guidance != 1:
                free = net(xt, t, torch.zeros_like(x1), cond.mask)
                epsilon = free + self.guidance * (epsilon - free)
            return xt - self.schedule.std(step) * epsilon

        def noise() -> Tensor:
            return random.normal(*x1.shape[1:])

        steps = self.schedule.grid(nfe, self.grid)
        drawn = None if self.ode else noise
        x0 = walk_bridge(predict_x0, start, steps, self.schedule, drawn, self.start == "estimate")
        return cond.space.denormalise(x0 / self.latent_scale)

    def report(self) -> Mapping[str, float]:
        """σ₁² and the largest standard deviation of the marginal."""
        middle = self.schedule.marginal(self.num_steps // 2 - 1)
        return {"bridge_variance": self.schedule.total_variance, "bridge_peak_std": middle.std}


@lru_cache(maxsize=8)
def _marginals(schedule: BridgeSchedule, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Marginal weights of x0 and x1, its std, and σ of every step: (num_steps,4) on the device.

    Kept there, so that a training step need not wait to know which steps were drawn.
    """
    steps = range(schedule.num_steps)
    rows = [(*schedule.marginal(step), schedule.std(step)) for step in steps]
    return torch.tensor(rows, dtype=torch.float64).to(device, dtype)
