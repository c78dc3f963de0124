"""The bridge once more, from the paper's equations, in plain double-precision Python.

Written apart from `resyn.schedules.bridge` and `resyn.sampling.bridge`, on purpose in another
form: sums instead of cumulative tables, precisions instead of weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence


def beta(mode: str, beta_max: float, num_steps: int, step: int) -> float:
    """β at `step`, times the step's length: a ramp of √β, mirrored in the middle."""
    rising = min(step, num_steps - 1 - step)
    points = num_steps if mode == "i2sb" else num_steps // 2
    low, high = math.sqrt(0.1), math.sqrt(beta_max)
    return (low + (high - low) * rising / (points - 1)) ** 2 / num_steps


class ReferenceBridge:
    """Eq. 6 with σ_t² and σ̄_t² as sums of β on both sides of t."""

    def __init__(self, mode: str = "i2sb", beta_max: float = 0.3, num_steps: int = 1000) -> None:
        self.betas = [beta(mode, beta_max, num_steps, step) for step in range(num_steps)]

    def before(self, step: int) -> float:
        """σ_t²."""
        return math.fsum(self.betas[: step + 1])

    def after(self, step: int) -> float:
        """σ̄_t²."""
        return math.fsum(self.betas[step + 1 :])

    def marginal(self, step: int) -> tuple[float, float, float]:
        """Eq. 6: weights of x0 and x1, standard deviation."""
        near, far = self.before(step), self.after(step)
        total = far + near
        return far / total, near / total, math.sqrt(near * far / total)

    def posterior(self, step: int, previous: int) -> tuple[float, float, float]:
        """Weights of x0 and x_step, standard deviation, by Bayes' rule.

        q(x_previous | x0) = N(x0, σ_previous²), q(x_step | x_previous) = N(x_previous, the β
        between): precisions add, means are weighted by them.
        """
        prior = 1 / self.before(previous)
        likelihood = 1 / math.fsum(self.betas[previous + 1 : step + 1])
        precision = prior + likelihood
        return prior / precision, likelihood / precision, math.sqrt(1 / precision)

    def walk(
        self, network: Callable[[float, float], float], x1: float, steps: Sequence[int]
    ) -> float:
        """The deterministic walk of one number from `x1`; `network(x, t)` is ε (Eq. 6)."""
        x, current = x1, steps[-1]
        for previous in list(steps)[-2::-1]:
            t = (current + 1) / len(self.betas)
            x0 = x - math.sqrt(self.before(current)) * network(x, t)
            if previous == steps[0]:
                return x0
            weight_x0, weight_x, _ = self.posterior(current, previous)
            x, current = weight_x0 * x0 + weight_x * x, previous
        raise ValueError("a walk needs two steps")
