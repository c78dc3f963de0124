"""The walk from x1 back to x0 along a bridge (DDPM sampling, I2SB Algorithm 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor

from resyn.schedules.bridge import BridgeSchedule


def walk_bridge(
    predict_x0: Callable[[Tensor, int], Tensor],
    x1: Tensor,
    steps: Sequence[int],
    schedule: BridgeSchedule,
    noise: Callable[[], Tensor] | None,
    from_estimate: bool = False,
) -> Tensor:
    """From `x1` (B,T,D) down the ascending `steps`, one prediction for each of their intervals.

    `predict_x0(xt, step)` is the network's estimate; `noise()` draws a standard normal like `x1`
    and is None for the deterministic (ODE) walk. The last prediction is returned as it is: the
    grid's first step lies next to x0 but not on it, so a posterior there would mix in x_t. That
    step itself is never asked of `predict_x0`; it may be -1, for x0.

    With `from_estimate` the first prediction, made at x1, takes x1's place as the point that the
    walk leaves from; it costs no further evaluation. This is not in the paper.
    """
    xt = x1
    for step, previous in pairwise(reversed(steps)):
        x0 = predict_x0(xt, step)
        if previous == steps[0]:
            return x0
        if from_estimate and step == steps[-1]:
            xt = x0
        weight_x0, weight_xt, std = schedule.posterior(step, previous)
        xt = weight_x0 * x0 + weight_xt * xt
        if noise is not None:
            xt = xt + std * noise()
    raise ValueError(f"a walk needs at least two steps, got {list(steps)}")
