"""Settings of the demo: the whole production line, small, on one machine."""

from __future__ import annotations

from pydantic import Field

from resyn.config.base import Settings


class DemoConfig(Settings):
    """What `make demo` makes, and how much of it."""

    output: str = "demo-out"
    """Local folder that everything lies under."""
    minutes: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    """Synthetic training speech."""
    eval_utterances: int = Field(default=48, ge=1, le=2000)
    """Evaluation utterances by held-out voices, of which `scored_utterances` are scored."""
    scored_utterances: int = Field(default=16, ge=1)
    methods: tuple[str, ...] = ("onestep", "sb", "c2f")
    steps: dict[str, int] = Field(default={"onestep": 270, "sb": 280, "c2f": 60})
    """Optimiser steps by method."""
    preset: str = "demo"
    nfe: tuple[int, ...] = (1, 4, 7, 16)
    spoken: int = Field(default=4, ge=1)
    """Utterances resynthesised with the registered champion."""
    codec: str = "demo_24khz"
    seed: int = 0
    threads: int = Field(default=2, ge=1)
