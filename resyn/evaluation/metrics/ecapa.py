"""ECAPA-TDNN (Desplanques et al., 2020) as SpeechBrain publishes it.

SpeechBrain's own loader builds whatever its `hyperparams.yaml` names, which runs code of whoever
wrote that file. Here the file is read as plain data, the three modules that make an embedding are
the only ones built, and the checkpoint is read as tensors alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from resyn.evaluation.metrics.weights import ModelFiles, NoValueError, opened_once

SETTINGS, CHECKPOINT = "hyperparams.yaml", "embedding_model.ckpt"
FILES = ModelFiles(
    setting="--ecapa", patterns=(SETTINGS, CHECKPOINT), needed=(SETTINGS, CHECKPOINT)
)
SAMPLE_RATE = 16_000

#: The modules by their key in hyperparams.yaml, and the class that each must be.
_CLASSES = {
    "compute_features": "speechbrain.lobes.features.Fbank",
    "mean_var_norm": "speechbrain.processing.features.InputNormalization",
    "embedding_model": "speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN",
}
_REFERENCE = re.compile(r"<(\w+)>")


@dataclass(frozen=True, slots=True)
class Embedder:
    """Waveform to speaker embedding, on torch's `device`."""

    features: Any
    normalise: Any
    network: Any
    device: str

    def embed(self, samples: np.ndarray) -> np.ndarray:
        """(S,) samples at 16 kHz to the speaker's embedding (E,), of any length."""
        import torch

        with torch.inference_mode():
            waveform = torch.from_numpy(samples)[None].to(self.device)
            whole = torch.ones(1, device=self.device)
            features = self.normalise(self.features(waveform), whole)
            return self.network(features, whole).flatten().cpu().numpy()


@opened_once
def open_embedder(folder: str, sha256: str, device: str) -> Embedder:
    """The model in `folder`; `sha256` tells apart what it held at different times.

    Raises NoValueError for a file that describes anything else than an ECAPA-TDNN.
    """
    import torch
    from speechbrain.lobes.features import Fbank
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
    from speechbrain.processing.features import InputNormalization

    told = read_settings((Path(folder) / SETTINGS).read_text(encoding="utf-8"))
    network = ECAPA_TDNN(**told["embedding_model"])
    state = torch.load(Path(folder) / CHECKPOINT, map_location="cpu", weights_only=True)
    network.load_state_dict(state)
    parts = (Fbank(**told["compute_features"]), InputNormalization(**told["mean_var_norm"]))
    features, normalise = (part.to(device).eval() for part in parts)
    return Embedder(features, normalise, network.to(device).eval(), device)


def read_settings(text: str) -> dict[str, dict[str, Any]]:
    """The arguments of the three modules from the text of a hyperparams.yaml.

    Raises NoValueError where a module is absent, of another class, or not made of plain values.
    """
    tree = yaml.load(text, _PlainLoader)
    if not isinstance(tree, dict):
        raise NoValueError(f"{SETTINGS} holds no settings")
    if tree.get("sample_rate", SAMPLE_RATE) != SAMPLE_RATE:
        raise NoValueError(f"{SETTINGS}: a model for {tree['sample_rate']} Hz, not {SAMPLE_RATE}")
    return {key: _arguments(tree, key, name) for key, name in _CLASSES.items()}


def _arguments(tree: Mapping[str, Any], key: str, class_name: str) -> dict[str, Any]:
    node = tree.get(key)
    if not isinstance(node, _Tagged) or node.tag != f"new:{class_name}":
        raise NoValueError(f"{SETTINGS}: {key} is no {class_name.rpartition('.')[2]}")
    arguments = node.value if isinstance(node.value, dict) else {}
    return {str(name): _plain(tree, value, key) for name, value in arguments.items()}


def _plain(tree: Mapping[str, Any], value: Any, key: str) -> Any:
    """`value` with a reference to a top-level setting resolved."""
    if isinstance(value, _Tagged) and value.tag == "ref":
        named = _REFERENCE.fullmatch(str(value.value).strip())
        value = tree.get(named[1], value) if named else value
    if isinstance(value, _Tagged):
        raise NoValueError(f"{SETTINGS}: {key} has an argument that is no plain value")
    return value


@dataclass(frozen=True, slots=True)
class _Tagged:
    """A node with one of HyperPyYAML's tags: `!new:module.Class`, `!ref <name>`, …"""

    tag: str
    value: Any


class _PlainLoader(yaml.SafeLoader):
    """YAML whose `!tags` are kept as data and do nothing."""


def _keep(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> _Tagged:
    if isinstance(node, yaml.MappingNode):
        return _Tagged(suffix, loader.construct_mapping(node, deep=True))
    if isinstance(node, yaml.SequenceNode):
        return _Tagged(suffix, loader.construct_sequence(node, deep=True))
    return _Tagged(suffix, node.value)


_PlainLoader.add_multi_constructor("!", _keep)
