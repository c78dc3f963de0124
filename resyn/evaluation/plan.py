"""All that an evaluation decides before work starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from resyn.codec.base import CodecSpec
from resyn.config.evaluate import EvaluateConfig
from resyn.evaluation.cache import audio_sha256
from resyn.evaluation.metrics import Metric, MetricInfo, latent, ready_metrics, rtf
from resyn.evaluation.metrics.squim import SQUIM
from resyn.evaluation.results import SCHEMA_VERSION
from resyn.evaluation.systems import EvaluatedModel, System, list_systems
from resyn.evaluation.utterances import UtteranceSet

#: Columns of the further codebook counts, which serve the paper's Fig. 2 alone.
CODEBOOK_METRICS = ("si_snr", "estoi", latent.NAME)

#: Settings that name the model of a metric.
MODEL_SETTINGS = {
    "wer": "whisper",
    "sim": "ecapa",
    **dict.fromkeys((metric.name for metric in SQUIM), "squim"),
}


@dataclass(frozen=True)
class Plan:
    """Systems (rows), metrics (columns) and utterances of one evaluation."""

    config: EvaluateConfig
    models: Sequence[EvaluatedModel]
    spec: CodecSpec
    data: UtteranceSet
    systems: tuple[System, ...]
    metrics: Mapping[str, MetricInfo]
    ready: Mapping[str, Metric]
    """The metrics on audio by name, bound to their models where those could be had."""

    def fingerprint(self) -> str:
        """Sixteen hex digits over what the values depend on: not places, workers or threads."""
        excluded = {"run", "input", "output", "model", "tracking_uri", "codec_weights", "fetch"}
        excluded |= set(MODEL_SETTINGS.values())
        identities = {n: m.identity() for n, m in self.metrics.items() if not m.is_cost}
        recipe = {
            "schema": SCHEMA_VERSION,
            "settings": self.config.fingerprint(exclude=excluded),
            "codec": self.spec.to_dict(),
            "models": [(model.uri, model.fingerprint) for model in self.models],
            "audio": [(u.utt_id, audio_sha256(u.audio), u.text) for u in self.data.utterances],
            "metrics": identities,
        }
        return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]

    def audio_metrics(self, system: System) -> tuple[str, ...]:
        """Names of the metrics on audio that `system` is measured with."""
        return tuple(name for name in self.columns(system) if name in self.ready)

    def columns(self, system: System) -> tuple[str, ...]:
        """Names of all its metrics."""
        few = system.group == "codebooks"
        return tuple(n for n in self.metrics if not few or n in CODEBOOK_METRICS)


def make_plan(
    config: EvaluateConfig,
    models: Sequence[EvaluatedModel],
    spec: CodecSpec,
    data: UtteranceSet,
    download: bool = True,
) -> Plan:
    """Systems and columns; fetches what metrics need if `config.fetch` and `download` allow.

    Raises UserError for models that cannot share a table, and for NFE that no model can use.
    """
    # First, for it refuses what makes no table, and a model of a metric may take long to fetch.
    systems = list_systems(models, spec, config.nfe)
    sources = {name: getattr(config, setting) for name, setting in MODEL_SETTINGS.items()}
    device = "cuda" if config.run.model_gpus else "cpu"
    ready = ready_metrics(config.metrics, sources, device, download and config.fetch)
    known = {name: metric.info(spec.sample_rate) for name, metric in ready.items()}
    known[latent.NAME] = latent.info(spec.sample_rate, spec.frame_rate)
    known[rtf.NAME] = rtf.info(spec.sample_rate, config.run.device, torch.get_num_threads())
    metrics = {name: info for name, info in known.items() if name in config.metrics}
    return Plan(config, models, spec, data, systems, metrics, ready)
