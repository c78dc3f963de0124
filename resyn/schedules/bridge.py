"""The Schrödinger Bridge between two paired points: pure functions of the step, in float64.

Eqs. 4–6 of the codec-resynthesis paper, after I2SB (Liu et al. 2023).
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

BridgeMode = Literal["i2sb", "true_peak"]

#: How the steps of a walk are spread. `uniform` is the paper's (after I2SB); the others are
#: denser near x0: `quadratic` as in the sampler of DDIM (Song et al. 2021), `sigma` evenly in σ.
GridSpacing = Literal["uniform", "quadratic", "sigma"]

#: The diffusion rate β at both ends, as the I2SB code base sets it (1e-4 a step, 1000 steps).
BETA_FLOOR = 0.1


class Mixture(NamedTuple):
    """A Gaussian around a weighted sum of two points."""

    weight_x0: float
    weight_other: float
    std: float


class BridgeSchedule:
    """Symmetric β_t on `num_steps` steps, numbered 0 (next to x0) … num_steps - 1 (x1 itself).

    `mode` says what `beta_max` means. `i2sb`: the flag of that code base, whose ramp is cut in
    its middle, so that β peaks lower (0.187 for 0.3; σ₁² = 0.141). `true_peak`: the value that
    β reaches in the middle (σ₁² = 0.191 for 0.3).

    σ_n² includes the step n's own β and σ̄_n² does not, so that the two always sum to σ₁² and
    the posterior carries one marginal exactly into another. (The I2SB code counts it in both.)
    """

    def __init__(
        self, mode: BridgeMode = "i2sb", beta_max: float = 0.3, num_steps: int = 1000
    ) -> None:
        if num_steps < 2 or num_steps % 2:
            raise ValueError(f"num_steps must be even and at least 2, got {num_steps}")
        if not beta_max > 0:
            raise ValueError(f"beta_max must be above 0, got {beta_max}")
        if mode not in ("i2sb", "true_peak"):
            raise ValueError(f"mode must be 'i2sb' or 'true_peak', got {mode!r}")
        self.mode = mode
        self.beta_max = beta_max
        self.num_steps = num_steps

    @cached_property
    def betas(self) -> np.ndarray:
        """β of each step times the step's length, (num_steps,); symmetric."""
        half = self.num_steps // 2
        points = self.num_steps if self.mode == "i2sb" else half
        ramp = np.linspace(BETA_FLOOR**0.5, self.beta_max**0.5, points, dtype=np.float64) ** 2
        rising = ramp[:half] / self.num_steps
        return np.concatenate([rising, rising[::-1]])

    @cached_property
    def variances(self) -> np.ndarray:
        """σ_n², (num_steps,): the accumulated β from x0 to each step."""
        return np.cumsum(self.betas)

    @property
    def total_variance(self) -> float:
        """σ₁², the variance accumulated over the whole bridge."""
        return float(self.variances[-1])

    def std(self, step: int) -> float:
        """σ_n, the divisor of the training target (Eq. 6)."""
        return float(self.variances[step] ** 0.5)

    def marginal(self, step: int) -> Mixture:
        """q(x_step | x0, x1), Eq. 6: weights of x0 and x1, and the standard deviation."""
        return _product(float(self.variances[step]), self.total_variance)

    def posterior(self, step: int, previous: int) -> Mixture:
        """q(x_previous | x_step, x0) for previous < step: weights of x0 and x_step, and std.

        Eq. 4 of I2SB. The same Gaussian product as the marginal, on the bridge that ends in
        x_step.
        """
        if not 0 <= previous < step < self.num_steps:
            raise ValueError(
                f"need 0 <= previous < step < {self.num_steps}, got {previous}, {step}"
            )
        return _product(float(self.variances[previous]), float(self.variances[step]))

    def time(self, step: int | np.ndarray) -> float | np.ndarray:
        """The network's time input in (0, 1]."""
        return (step + 1) / self.num_steps

    def grid(self, nfe: int, spacing: GridSpacing = "uniform") -> list[int]:
        """nfe + 1 distinct steps from 0 to the last, ascending. Needs 1 <= nfe <= num_steps.

        Where `spacing` would put two of them on one step, the later moves on. With nfe equal to
        num_steps the network is asked at every step, 0 too, and -1 stands before it for x0 itself.
        """
        last = self.num_steps - 1
        if not 1 <= nfe <= self.num_steps:
            raise ValueError(f"nfe must be from 1 to {self.num_steps}, got {nfe}")
        if spacing not in ("uniform", "quadratic", "sigma"):
            raise ValueError(f"spacing must be uniform, quadratic or sigma, got {spacing!r}")
        if nfe == self.num_steps:
            return list(range(-1, self.num_steps))
        even = np.linspace(0, 1, nfe + 1)
        if spacing == "uniform":
            wanted = even * last
        elif spacing == "quadratic":
            wanted = even**2 * last
        else:
            stds = np.sqrt(self.variances)
            wanted = np.interp(stds[0] + even * (stds[-1] - stds[0]), stds, np.arange(last + 1))
        steps = np.round(wanted).astype(int)
        for index in range(1, nfe + 1):
            room = last - (nfe - index)
            steps[index] = min(max(steps[index], steps[index - 1] + 1), room)
        return steps.tolist()


def _product(near: float, whole: float) -> Mixture:
    """A Brownian bridge of variance `whole`, at the point `near` of it from x0."""
    rest = whole - near
    return Mixture(rest / whole, near / whole, (near * rest / whole) ** 0.5)
