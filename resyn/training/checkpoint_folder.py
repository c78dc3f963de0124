"""A checkpoint: a folder of safetensors and JSON, independent of world size and engine.

`config.json`, `model.safetensors`, `ema.safetensors` (if averaged), `optimizer.safetensors`,
`latent_space.safetensors` (for latents), and last `state.json`, which holds sizes and digests of
all others: a folder without it was never committed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from resyn.errors import UserError
from resyn.storage import Storage
from resyn.types import LatentSpace

STATE = "state.json"
_CONFIG, _MOMENTS = "config.json", "optimizer.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to go on, and a model needs to be used."""

    config: Mapping[str, Any]
    """`method`, `model`, `codec` (its spec), `train` (the whole settings)."""
    state: Mapping[str, Any]
    """`step`, `examples`, `seed`, `recipe`, `shard_fingerprint`, `mlflow_run_id`, `metrics`,
    `validated_step` (the step at which the figures of validation among them were measured)."""
    weights: dict[str, Tensor]
    ema: dict[str, Tensor] = field(default_factory=dict)
    moments: dict[str, Tensor] = field(default_factory=dict)
    space: LatentSpace | None = None

    @property
    def step(self) -> int:
        """Optimiser steps taken."""
        return int(self.state["step"])

    def chosen_weights(self, kind: str, where: str) -> dict[str, Tensor]:
        """The averaged ("ema"; the raw ones where none were averaged) or the "raw" weights.

        Raises UserError, which begins with `where`, when one is not finite.
        """
        if kind not in ("ema", "raw"):
            raise UserError(f"weights: must be 'ema' or 'raw', got {kind!r}")
        weights = self.ema if kind == "ema" and self.ema else self.weights
        for name, value in weights.items():
            if not bool(value.isfinite().all()):
                raise UserError(
                    f"{where}: weight {name!r} is not finite; use an earlier checkpoint"
                )
        return weights


def folder_name(step: int) -> str:
    """Sortable name of a step's folder."""
    return f"step-{step:08d}"


def save_checkpoint(folder: Storage, checkpoint: Checkpoint) -> None:
    """Write into `folder`, the commit record last. An older attempt there is overwritten."""
    tensors = {
        "model.safetensors": checkpoint.weights,
        "ema.safetensors": checkpoint.ema,
        _MOMENTS: checkpoint.moments,
        "latent_space.safetensors": _space_tensors(checkpoint.space),
    }
    digests, sizes = {}, {}
    folder.remove(STATE)
    for name in [_CONFIG, *(name for name, values in tensors.items() if values)]:
        # One file at a time in memory: the moments are twice as large as the model.
        if name == _CONFIG:
            data = (json.dumps(checkpoint.config, indent=2) + "\n").encode()
        else:
            data = save({key: value.contiguous() for key, value in tensors[name].items()})
        folder.write_bytes(name, data)
        digests[name], sizes[name] = hashlib.sha256(data).hexdigest(), len(data)
    folder.write_json(STATE, {**checkpoint.state, "sha256": digests, "bytes": sizes})


def load_checkpoint(folder: Storage, *, optimizer: bool = True) -> Checkpoint:
    """Read and verify a folder. Raises UserError that names the file at fault.

    With `optimizer` False the moments are left out, and may be missing.
    """
    state = read_state(folder)
    config: dict[str, Any] = {}
    tensors: dict[str, dict[str, Tensor]] = {}
    for name in state["sha256"]:
        if name == _MOMENTS and not optimizer:
            continue
        data = read_verified(folder, name, state)
        if name == _CONFIG:
            config = json.loads(data)
        else:
            tensors[name] = load(data)
    space = tensors.get("latent_space.safetensors")
    return Checkpoint(
        config=config,
        state=state,
        weights=tensors["model.safetensors"],
        ema=tensors.get("ema.safetensors", {}),
        moments=tensors.get(_MOMENTS, {}),
        space=LatentSpace(**space) if space else None,
    )


def read_state(folder: Storage) -> dict[str, Any]:
    """The commit record. Raises UserError when it is missing or damaged."""
    if not folder.exists(STATE):
        raise UserError(f"{folder.uri}: no {STATE}, so no complete checkpoint; name another folder")
    try:
        state = folder.read_json(STATE)
        whole = isinstance(state["step"], int) and "model.safetensors" in state["sha256"]
    except (ValueError, TypeError, KeyError):
        whole, state = False, {}
    if not whole:
        raise UserError(f"{folder.uri}/{STATE}: it is damaged; use another checkpoint")
    return state


def check_sizes(folder: Storage, state: Mapping[str, Any]) -> None:
    """Raises UserError for a file that is missing or has another size than when it was written."""
    listed = folder.fs.ls(folder.path(), detail=True)
    sizes = {str(entry["name"]).rsplit("/", 1)[-1]: entry["size"] for entry in listed}
    for name, size in state.get("bytes", {}).items():
        if sizes.get(name) != size:
            fault = f"not of {size} bytes" if name in sizes else "missing from the checkpoint"
            raise UserError(f"{folder.uri}/{name}: {fault}; it is damaged, use another one")


def read_verified(folder: Storage, name: str, state: Mapping[str, Any]) -> bytes:
    """A file as it was written. Raises UserError when it is missing or damaged."""
    if not folder.exists(name):
        raise UserError(f"{folder.uri}/{name}: missing from the checkpoint; use another one")
    data = folder.read_bytes(name)
    if hashlib.sha256(data).hexdigest() != state["sha256"][name]:
        raise UserError(f"{folder.uri}/{name}: its digest differs from {STATE}; it is damaged")
    return data


def _space_tensors(space: LatentSpace | None) -> dict[str, Tensor]:
    if space is None:
        return {}
    return {"codebooks": space.codebooks, "mean": space.mean, "std": space.std}
