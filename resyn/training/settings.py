"""From a preset and dotted settings to one training configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resyn.config.train import TrainConfig
from resyn.errors import UserError
from resyn.presets import preset


def train_config(preset_name: str, values: Mapping[str, Any]) -> TrainConfig:
    """The preset for `method.name`, then `values` over it in order.

    Raises UserError when no method is named or a key or value is wrong.
    """
    method = values.get("method.name")
    if method is None:
        raise UserError("--method: name one of codec, c2f, onestep, sb")
    rest = {key: value for key, value in values.items() if key != "method.name"}
    return preset(preset_name, str(method)).override(rest)
