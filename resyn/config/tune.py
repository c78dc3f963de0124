"""Settings of a sweep, beside those of training."""

from __future__ import annotations

from pydantic import Field

from resyn.config.base import Settings
from resyn.config.evaluate import Names


class SweepSettings(Settings):
    """How many trials, and what makes one better than another."""

    num_samples: int = Field(default=4, ge=1)
    """Trials; the first is the training configuration as it stands."""
    max_concurrent: int | None = Field(default=None, ge=1)
    """Trials at a time; None for as many as the cluster holds."""
    also: Names = ()
    """Further settings to vary: dotted keys of the search space's own list, or their last words."""
    metric: str | None = None
    """Figure to make small; None for the one that the method's search space names."""
    seed: int = 0
    """Seed of the drawing of trials."""
