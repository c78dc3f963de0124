"""DeepSpeed's configuration as far as it can be checked before anything runs, without DeepSpeed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from resyn.config.train import RunSettings
from resyn.errors import UserError

#: DeepSpeed's keys that follow from settings of a run, and from which.
FOLLOWS_FROM = {
    "train_batch_size": "batch.batch_seconds",
    "train_micro_batch_size_per_gpu": "batch.micro_batch",
    "gradient_accumulation_steps": "batch.micro_batch",
    "gradient_clipping": "optim.gradient_clip",
    "optimizer": "optim.*",
    "scheduler": "optim.*",
    "fp16": "run.use_gpu",
    "bf16": "run.use_gpu",
    "torch_autocast": "run.use_gpu",
    "steps_per_print": "run.log_every",
}

STAGES = (0, 1, 2, 3)


def zero_settings(run: RunSettings) -> dict[str, Any]:
    """What the user decides of DeepSpeed's configuration: a JSON file, or the ZeRO stage alone.

    Raises UserError for a file that is missing, does not parse or holds no object, for a stage
    that does not exist, and for a key that follows from other settings.
    """
    if run.deepspeed_config is None:
        return {"zero_optimization": {"stage": run.zero_stage}}
    place = "run.deepspeed_config"
    settings: Any = run.deepspeed_config
    if isinstance(settings, str):
        place = f"{place}: {settings}"
        settings = _parsed(Path(settings), place)
    if not isinstance(settings, dict):
        raise UserError(f'{place}: holds no JSON object; write {{"zero_optimization": …}}')
    for key, source in FOLLOWS_FROM.items():
        if key in settings:
            raise UserError(f"{place}: {key!r} follows from {source}; remove it there")
    if zero_stage(settings) not in STAGES:
        raise UserError(f"{place}: zero_optimization.stage must be 0, 1, 2 or 3")
    return settings


def zero_stage(settings: dict[str, Any]) -> object:
    """The ZeRO stage of a DeepSpeed configuration; 0 where it names none, as DeepSpeed has it."""
    zero = settings.get("zero_optimization", {})
    return zero.get("stage", 0) if isinstance(zero, dict) else None


def _parsed(file: Path, place: str) -> Any:
    try:
        return json.loads(file.read_text())
    except OSError as error:
        raise UserError(f"{place}: cannot be read ({error.strerror}); name a JSON file") from error
    except ValueError as error:
        raise UserError(f"{place}: is no JSON ({error}); correct it") from error


def check_engine(run: RunSettings, averaged: bool) -> None:
    """Refuse what the chosen engine cannot do; `averaged` says that the weights are averaged too.

    Raises UserError as `zero_settings` does, for settings of DeepSpeed on the torch engine, and
    for what ZeRO stage 3, which holds no whole weights, rules out.
    """
    if run.engine == "torch":
        if run.deepspeed_config is not None:
            raise UserError("run.deepspeed_config: the torch engine reads none; --engine deepspeed")
        return
    if zero_stage(zero_settings(run)) != 3:
        return
    if averaged:
        raise UserError("run.zero_stage: stage 3 cannot average weights; --set optim.ema_decay=0")
    if run.compile is True:
        raise UserError("run.compile: not with ZeRO stage 3, which gathers weights layer by layer")


def compiles(run: RunSettings) -> bool:
    """Whether the network's layers are compiled."""
    if run.compile != "auto":
        return run.compile
    whole = run.engine == "torch" or zero_stage(zero_settings(run)) != 3
    return run.use_gpu and whole
