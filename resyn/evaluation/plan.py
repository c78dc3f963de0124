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
from resyn.evaluation.metrics import AUDIO_METRICS, MetricInfo, latent, rtf
from resyn.evaluation.results import SCHEMA_VERSION
from resyn.evaluation.systems import EvaluatedModel, System, list_systems
from resyn.evaluation.utterances import UtteranceSet

#: Columns of the further codebook counts, which serve the paper's Fig. 2 alone.
CODEBOOK_METRICS = ("si_snr", "estoi", latent.NAME)


@dataclass(frozen=True)
class Plan:
    """Systems (rows), metrics (columns) and utterances of one evaluation."""

    config: EvaluateConfig
    models: Sequence[EvaluatedModel]
    spec: CodecSpec
    data: UtteranceSet
    systems: tuple[System, ...]
    metrics: Mapping[str, MetricInfo]

    def fingerprint(self) -> str:
        """Sixteen hex digits over what the values depend on: not places, workers or threads."""
        excluded = {"run", "input", "output", "model", "tracking_uri", "codec_weights"}
        # Evaluations from before there were sampling settings keep their fingerprints.
        excluded |= set() if self.config.sampling else {"sampling"}
        identities = {n: m.identity() for n, m in self.metrics.items() if not m.is_cost}
        recipe = {
            "schema": SCHEMA_VERSION,
            "settings": self.config.fingerprint(exclude=excluded),
            "codec": self.spec.to_dict(),
            "models": [(model.uri, model.fingerprint) for model in self.models],
            "audio": [(utt.utt_id, audio_sha256(utt.audio)) for utt in self.data.utterances],
            "metrics": identities,
        }
        return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]

    def audio_metrics(self, system: System) -> tuple[str, ...]:
        """Names of the metrics on audio that `system` is measured with."""
        return tuple(name for name in self.columns(system) if name in AUDIO_METRICS)

    def columns(self, system: System) -> tuple[str, ...]:
        """Names of all its metrics."""
        few = system.group == "codebooks"
        return tuple(n for n in self.metrics if not few or n in CODEBOOK_METRICS)


def make_plan(
    config: EvaluateConfig, models: Sequence[EvaluatedModel], spec: CodecSpec, data: UtteranceSet
) -> Plan:
    """Systems and columns. Raises UserError for models that cannot share a table."""
    known = {name: metric.info(spec.sample_rate) for name, metric in AUDIO_METRICS.items()}
    known[latent.NAME] = latent.info(spec.sample_rate, spec.frame_rate)
    known[rtf.NAME] = rtf.info(spec.sample_rate, config.run.device, torch.get_num_threads())
    systems = list_systems(models, spec, config.nfe)
    metrics = {name: info for name, info in known.items() if name in config.metrics}
    return Plan(config, models, spec, data, systems, metrics)
