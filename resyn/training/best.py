"""Which checkpoint of a run is the best by a figure of its validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: File beside the checkpoints that names the best one; a `Mark` as JSON.
BEST = "best.json"

#: Figures that a run may be judged by, and whether more of them is better.
HIGHER_IS_BETTER = {
    "validation_latent_error": False,
    "validation_loss": False,
    "validation_estoi": True,
}


@dataclass(frozen=True, slots=True)
class Mark:
    """The best checkpoint's folder, and by which `value` of which `metric` it is that."""

    checkpoint: str
    metric: str
    value: float


def best_of(states: Mapping[str, Mapping[str, Any]], metric: str | None) -> Mark | None:
    """The best of a run's commit records, by folder in order of steps; the earliest of equals.

    None for `metric` stands for the latent error, or the loss of a method without latents. Only
    figures measured at the checkpoint's own step count; without any there is no best.
    """
    best: Mark | None = None
    for name, state in states.items():
        figures = _figures(state)
        judged_by = metric or _default(figures)
        value = figures.get(judged_by)
        if value is None or value != value:
            continue
        if best is None or best.metric != judged_by or _beats(value, best):
            best = Mark(name, judged_by, value)
    return best


def _default(figures: Mapping[str, float]) -> str:
    return next((name for name in HIGHER_IS_BETTER if name in figures), "validation_loss")


def _beats(value: float, best: Mark) -> bool:
    return value > best.value if HIGHER_IS_BETTER[best.metric] else value < best.value


def _figures(state: Mapping[str, Any]) -> Mapping[str, float]:
    step = state["step"]
    return state.get("metrics", {}) if state.get("validated_step", step) == step else {}
