"""Checkpoints: a folder of safetensors and JSON, independent of world size and engine.

`config.json`, `model.safetensors`, `ema.safetensors` (if averaged), `optimizer.safetensors`,
`latent_space.safetensors` (for latents), and last `state.json`, which holds the digests of all
others: a folder without it was never committed.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from resyn.errors import UserError
from resyn.storage import Storage, open_storage
from resyn.types import LatentSpace

STATE = "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to go on, and a model needs to be used."""

    config: Mapping[str, Any]
    """`method`, `model`, `codec` (its spec), `train` (the whole settings)."""
    state: Mapping[str, Any]
    """`step`, `examples`, `seed`, `recipe`, `shard_fingerprint`, `mlflow_run_id`, `metrics`."""
    weights: dict[str, Tensor]
    ema: dict[str, Tensor] = field(default_factory=dict)
    moments: dict[str, Tensor] = field(default_factory=dict)
    space: LatentSpace | None = None

    @property
    def step(self) -> int:
        """Optimiser steps taken."""
        return int(self.state["step"])


def folder_name(step: int) -> str:
    """Sortable name of a step's folder."""
    return f"step-{step:08d}"


def save_checkpoint(folder: Storage, checkpoint: Checkpoint) -> None:
    """Write into `folder`, the commit record last. An older attempt there is overwritten."""
    files = {"config.json": (json.dumps(checkpoint.config, indent=2) + "\n").encode()}
    tensors = {
        "model.safetensors": checkpoint.weights,
        "ema.safetensors": checkpoint.ema,
        "optimizer.safetensors": checkpoint.moments,
        "latent_space.safetensors": _space_tensors(checkpoint.space),
    }
    for name, values in tensors.items():
        if values:
            files[name] = save({key: value.contiguous() for key, value in values.items()})
    folder.remove(STATE)
    for name, data in files.items():
        folder.write_bytes(name, data)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    folder.write_json(STATE, {**checkpoint.state, "sha256": digests})


def load_checkpoint(folder: Storage, *, optimizer: bool = True) -> Checkpoint:
    """Read and verify a folder. Raises UserError that names the file at fault.

    With `optimizer` False the moments are left out, and may be missing.
    """
    if not folder.exists(STATE):
        raise UserError(f"{folder.uri}: no {STATE}, so no complete checkpoint; name another folder")
    state = folder.read_json(STATE)
    files: dict[str, bytes] = {}
    for name, digest in state["sha256"].items():
        if name == "optimizer.safetensors" and not optimizer:
            continue
        if not folder.exists(name):
            raise UserError(f"{folder.uri}/{name}: missing from the checkpoint; use another one")
        files[name] = folder.read_bytes(name)
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise UserError(f"{folder.uri}/{name}: its digest differs from {STATE}; it is damaged")
    tensors = {name: load(data) for name, data in files.items() if name.endswith(".safetensors")}
    space = tensors.get("latent_space.safetensors")
    return Checkpoint(
        config=json.loads(files["config.json"]),
        state=state,
        weights=tensors["model.safetensors"],
        ema=tensors.get("ema.safetensors", {}),
        moments=tensors.get("optimizer.safetensors", {}),
        space=LatentSpace(**space) if space else None,
    )


def _space_tensors(space: LatentSpace | None) -> dict[str, Tensor]:
    if space is None:
        return {}
    return {"codebooks": space.codebooks, "mean": space.mean, "std": space.std}


class CheckpointStore:
    """The checkpoints of one run, below `<output>/checkpoints`."""

    def __init__(self, output: str, keep: int = 2) -> None:
        self.storage = open_storage(output).at("checkpoints")
        self.keep = keep

    def folders(self) -> list[str]:
        """Committed folders, oldest first."""
        return [n for n in self.storage.names() if self.storage.exists(f"{n}/{STATE}")]

    def uri(self, name: str) -> str:
        """The URI of a folder."""
        return self.storage.at(name).uri

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint that verifies; a damaged one is passed over with a warning."""
        for name in reversed(self.folders()):
            try:
                return load_checkpoint(self.storage.at(name))
            except UserError as error:
                warnings.warn(f"{error}; falling back to the one before", stacklevel=2)
        return None

    def latest_state(self) -> dict[str, Any] | None:
        """The commit record of the newest folder, without its tensors."""
        folders = self.folders()
        return self.storage.read_json(f"{folders[-1]}/{STATE}") if folders else None

    def save(self, checkpoint: Checkpoint) -> str:
        """Commit a checkpoint, drop those beyond `keep`, and return its URI."""
        name = folder_name(checkpoint.step)
        save_checkpoint(self.storage.at(name), checkpoint)
        for old in self.folders()[: -self.keep]:
            self.storage.remove(old)
        return self.uri(name)


def latest_folder(uri: str) -> str:
    """`uri` itself when it is a checkpoint, else the newest one of the run that lies there.

    Raises UserError when neither holds.
    """
    if open_storage(uri).exists(STATE):
        return uri
    store = CheckpointStore(uri)
    folders = store.folders()
    if not folders:
        raise UserError(f"{uri}: no checkpoint here; give a run's folder or a checkpoint's")
    return store.uri(folders[-1])
