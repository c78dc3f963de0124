"""The verb `evaluate`: models and speech in; tables, figures and a page out."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from resyn.codec import Codec, load_codec
from resyn.config.evaluate import EvaluateConfig
from resyn.errors import UserError
from resyn.evaluation.compare import ParallelMap, serial_map
from resyn.evaluation.evaluate import evaluate
from resyn.evaluation.page import PAGE, write_report
from resyn.evaluation.plan import make_plan
from resyn.evaluation.results import Results
from resyn.evaluation.systems import EvaluatedModel
from resyn.evaluation.tables import markdown_table
from resyn.evaluation.utterances import UtteranceSet, list_clips, read_clips
from resyn.methods import parse_method, read_sampling, sampling_settings
from resyn.resynthesis import Resynthesizer
from resyn.runtime.models import resolve_model
from resyn.runtime.ray_map import RayActorMap, RayMap
from resyn.storage import open_storage
from resyn.training.checkpoint import STATE

#: What tables, figures and the page are made with.
REPORT_PACKAGES = ("jinja2", "matplotlib", "scipy")


@dataclass(frozen=True)
class Inputs:
    """All that an evaluation works on."""

    models: Sequence[EvaluatedModel]
    codec: Codec
    data: UtteranceSet


def run(config: EvaluateConfig) -> Results:
    """Evaluate, write the report, print the table. Raises UserError or RunError."""
    inputs = load_inputs(config)
    workers = config.run.workers
    parallel_map: ParallelMap = serial_map if workers == 0 else RayMap(workers)
    model_map = None
    if workers != 0:
        model_map = RayActorMap(workers, config.run.model_workers, config.run.model_gpus)
    results = evaluate(config, inputs.models, inputs.codec, inputs.data, parallel_map, model_map)
    output = open_storage(config.output)
    write_report(output, results)
    print(markdown_table(results))
    for note in results.notes:
        if note.kind in ("warning", "below", "unordered", "missing"):
            print(f"- {note.text}")
    print(f"\npage: {output.path(PAGE)}")
    return results


def show_plan(config: EvaluateConfig) -> None:
    """Print the settings and what they would do; writes nothing."""
    inputs = load_inputs(config)
    print(config.to_yaml())
    plan = make_plan(config, inputs.models, inputs.codec.spec, inputs.data, download=False)
    count, seconds = len(inputs.data.utterances), inputs.data.seconds
    print(f"{count} utterances, {seconds:.0f} s; {len(inputs.data.skipped)} skipped")
    for source, reason in inputs.data.skipped:
        print(f"  skipped {source}: {reason}")
    for system in plan.systems:
        print(f"  {system.label}: {', '.join(plan.columns(system))}")
    for name, metric in plan.ready.items():
        if reason := metric.missing():
            print(f"  {name}: no values yet: {reason}")
    print(f"{count * len(plan.systems)} takes to compare; fingerprint {plan.fingerprint()}")


def load_inputs(config: EvaluateConfig) -> Inputs:
    """Models, codec and speech. Raises UserError for whatever is missing or does not fit."""
    _check_packages()
    if not config.input:
        raise UserError("--input is missing: name a folder of audio to evaluate on")
    if not config.output:
        raise UserError("--output is missing: name the folder for the page and the tables")
    names = list_clips(config.input, config.max_utterances)
    folders = {uri: resolve_model(uri, config.tracking_uri) for uri in config.model}
    torch.set_num_threads(config.run.threads)
    sampling = _sampling_by_model(config.sampling, folders)
    models: list[EvaluatedModel] = []
    codec: Codec | None = None
    for uri, folder in folders.items():
        maker = Resynthesizer.from_checkpoint(
            folder,
            codec=codec,
            codec_weights=config.codec_weights,
            device=config.run.device,
            weights=config.weights,
            sampling=sampling[uri],
        )
        codec = maker.codec
        # The commit record holds the digests of all other files.
        digest = hashlib.sha256(open_storage(folder).read_bytes(STATE)).hexdigest()
        models.append(EvaluatedModel(uri, digest, maker))
    if codec is None:
        codec = _codec_alone(config)
    elif config.codec not in (None, codec.spec.name):
        raise UserError(f"--codec {config.codec}: the models use {codec.spec.name}; drop the flag")
    return Inputs(models, codec, read_clips(config.input, names, codec.spec))


def _sampling_by_model(
    texts: Sequence[str], folders: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Each model's share of the `name=value` settings: those that its method has.

    Raises UserError for one without a value, and for one that no model has.
    """
    given = read_sampling(texts)
    methods = {
        uri: parse_method(open_storage(folder).read_json("config.json")["method"])
        for uri, folder in folders.items()
    }
    for name in given:
        if not any(name in sampling_settings(method) for method in methods.values()):
            known = [
                f"{m.name}: {', '.join(sorted(sampling_settings(m))) or 'none'}"
                for m in methods.values()
            ]
            raise UserError(f"sampling {name}: no model has such a setting ({'; '.join(known)})")
    return {
        uri: {name: value for name, value in given.items() if name in sampling_settings(method)}
        for uri, method in methods.items()
    }


def _check_packages() -> None:
    """A metric can do without its package, the report cannot."""
    missing = [name for name in REPORT_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"{', '.join(missing)}: not installed; pip install 'resyn[eval]'")


def _codec_alone(config: EvaluateConfig) -> Codec:
    if config.codec is None:
        raise UserError("--model is missing: name models, or --codec to evaluate a codec alone")
    return load_codec(config.codec, config.codec_weights, config.run.device)
