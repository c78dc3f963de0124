"""Whole configurations as functions; a variant calls another and changes a field."""

from __future__ import annotations

from collections.abc import Callable

from resyn.config.train import BatchSettings, OptimSettings, RunSettings, TrainConfig
from resyn.errors import UserError
from resyn.methods import parse_method
from resyn.models.shape import TransformerShape

#: Peak learning rates that the codec-resynthesis paper settled on (appendix A.1).
PAPER_LR = {"c2f": 1e-4, "onestep": 5e-4, "sb": 5e-4}

#: What the demo's few hundred steps need beyond the paper, so that one evaluation beats x1.
DEMO_METHODS = {"onestep": {"residual": 0.3}, "sb": {"start_share": 0.5}}
DEMO_LR = {"onestep": 2e-3}


def base_210m(method: str) -> TrainConfig:
    """The paper's recipe: 12 layers of width 1024, 800 s of audio a step, a million steps."""
    return TrainConfig(
        method=parse_method({"name": method}),
        optim=OptimSettings(lr=PAPER_LR.get(method, 5e-4)),
        run=RunSettings(checkpoint_every=5000, checkpoint_minutes=15),
    )


def demo(method: str) -> TrainConfig:
    """About five million parameters, a few minutes on two cores."""
    if method == "codec":
        return demo_codec()
    return base_210m(method).model_copy(
        update={
            "method": parse_method({"name": method, **DEMO_METHODS.get(method, {})}),
            "model": TransformerShape(num_layers=4, dim=256, num_heads=4, ff_dim=1024),
            "optim": OptimSettings(lr=DEMO_LR.get(method, 3e-3), warmup_steps=50, ema_decay=0.98),
            "batch": BatchSettings(batch_seconds=32.0, crop_seconds=2.0, micro_batch=16),
            "steps": 400,
            "run": RunSettings(checkpoint_every=100, log_every=10),
        }
    )


def demo_codec() -> TrainConfig:
    """A small codec that learns synthetic speech in under an hour on one core."""
    return TrainConfig(
        method=parse_method({"name": "codec", "speed": 0.2, "tilt": 3.0}),
        optim=OptimSettings(
            lr=1.5e-3, warmup_steps=100, betas=(0.8, 0.99), gradient_clip=5.0, ema_decay=0.999
        ),
        batch=BatchSettings(batch_seconds=9.6, crop_seconds=1.2, micro_batch=8),
        steps=6000,
        run=RunSettings(checkpoint_every=250),
    )


def debug(method: str) -> TrainConfig:
    """Seconds on one core: for tests and for trying a pipeline's plumbing."""
    small = TransformerShape(num_layers=2, dim=64, num_heads=2, ff_dim=128, conv_kernel=7)
    tree = {"name": method}
    if method == "codec":
        tree |= {"encoder_width": 32, "encoder_depth": 1, "decoder_width": 32, "decoder_depth": 1}
    return TrainConfig(
        method=parse_method(tree),
        model=small,
        optim=OptimSettings(lr=1e-3, warmup_steps=2, ema_decay=0.9),
        batch=BatchSettings(batch_seconds=4.0, crop_seconds=1.0, micro_batch=4),
        steps=10,
        run=RunSettings(checkpoint_every=5, log_every=1, threads_per_worker=1),
    )


PRESETS: dict[str, Callable[[str], TrainConfig]] = {
    "debug": debug,
    "demo": demo,
    "base_210m": base_210m,
}


def preset(name: str, method: str) -> TrainConfig:
    """The preset `name` for `method`. Raises UserError for an unknown name."""
    if name not in PRESETS:
        raise UserError(f"--preset {name}: unknown preset; known: {', '.join(PRESETS)}")
    return PRESETS[name](method)
