"""Settings of the reproduction of the paper's tables and figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from resyn.config.base import Settings
from resyn.config.demo import DemoConfig
from resyn.config.evaluate import Counts, EvaluateConfig, MetricName
from resyn.config.train import RunSettings, Share, TrackingSettings

Part = Literal["table1", "table2", "fig2", "fig3"]
PARTS: tuple[Part, ...] = get_args(Part)


def _parts(value: object) -> object:
    """`all` to every part, `"table1,fig2"` to two."""
    names = value.split(",") if isinstance(value, str) else value
    return PARTS if names == ["all"] else names


class ReproduceConfig(Settings):
    """What to reproduce, at which scale; `reproduce_config` gives the whole of either."""

    what: Annotated[tuple[Part, ...], BeforeValidator(_parts), Field(min_length=1)] = PARTS
    scale: Literal["demo", "paper"] = "demo"
    output: str = "reproduce-out"
    """Folder of everything it makes; a demo's own will do, whose speech and shards are then reused
    and whose runs are gone on with."""
    shards: str = ""
    """Token shards to train on; at demo scale they are made."""
    subset: Share = 1 / 60
    """Share of the training data that Table 2 trains on; the paper's 960 of 60,000 h are 1/62.5."""
    subset_shards: str = ""
    """Shards of Table 2's smaller set, such as LibriSpeech, in place of a subset."""
    methods: tuple[str, ...] = ("onestep", "sb", "c2f")
    preset: str = "demo"
    steps: dict[str, int]
    """Optimiser steps by method, on all data."""
    subset_steps: dict[str, int] = Field(default_factory=dict)
    """The same on Table 2's smaller set; a method not named takes those of `steps`."""
    subset_best: tuple[str, ...] = ("onestep",)
    """Methods whose model of the smaller set is scored at its best checkpoint, as the paper scores
    one-step regression, which overfits there; the others at their last."""
    seed: int = 0
    """Of weights, crops and noise."""
    run: RunSettings = RunSettings()
    """How training is carried out."""
    tracking: TrackingSettings = TrackingSettings()
    evaluate: EvaluateConfig
    """How the models are scored; `input` is the evaluation speech, at demo scale made. Models,
    output and seed are the reproduction's."""
    subset_nfe: Counts = (1, 7)
    """Network evaluations of Table 2."""
    demo: DemoConfig = DemoConfig()
    """The synthetic speech of the demo scale; its `output`, `seed` and `steps` are not used."""


#: Network evaluations of Table 1 and Fig. 3, where a method allows them.
_NFE = (1, 2, 4, 7, 16, 32)
#: Seconds per take for what DNSMOS's first score tells; at demo scale only on request.
_ON_REQUEST = {"dnsmos_sig", "dnsmos_bak"}
#: All but guesses of what is measured besides.
_METRICS: tuple[MetricName, ...] = tuple(
    name for name in get_args(MetricName) if not name.startswith("squim")
)

#: In this process and on the plain engine: at this size a cluster's start costs more than a run.
DEMO = ReproduceConfig(
    scale="demo",
    preset="demo",
    steps=dict.fromkeys(("onestep", "sb", "c2f"), 500),
    run=RunSettings(engine="torch", num_workers=0, checkpoint_every=100, log_every=10),
    evaluate=EvaluateConfig(
        nfe=_NFE,
        metrics=tuple(name for name in _METRICS if name not in _ON_REQUEST),
        # Fig. 3's metrics have values where their models are on this machine, else a reason.
        fetch=False,
        max_utterances=16,
    ),
)
PAPER = ReproduceConfig(
    scale="paper",
    preset="base_210m",
    steps=dict.fromkeys(("onestep", "sb", "c2f"), 1_000_000),
    subset_steps=dict.fromkeys(("onestep", "sb", "c2f"), 500_000),
    run=RunSettings(checkpoint_every=5000),
    evaluate=EvaluateConfig(nfe=_NFE, metrics=_METRICS),
)
SCALES = {"demo": DEMO, "paper": PAPER}


def reproduce_config(values: Mapping[str, Any]) -> ReproduceConfig:
    """The whole of the scale that `values` name (demo when none), with `values` over it.

    Raises UserError for an unknown scale or key, or a wrong value.
    """
    return SCALES.get(values.get("scale", "demo"), DEMO).override(values)
