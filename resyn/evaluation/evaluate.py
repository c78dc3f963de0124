"""One evaluation from end to end: synthesise, compare, summarise."""

from __future__ import annotations

import datetime
import hashlib
import sys
from collections.abc import Iterator, Sequence

import resyn
from resyn.codec.base import Codec
from resyn.config.evaluate import EvaluateConfig
from resyn.evaluation.cache import MetricCache, audio_sha256
from resyn.evaluation.compare import ParallelMap, serial_map
from resyn.evaluation.metrics import Score, latent, rtf
from resyn.evaluation.notes import write_notes
from resyn.evaluation.plan import MODEL_SETTINGS, Plan, make_plan
from resyn.evaluation.progress import Progress
from resyn.evaluation.results import (
    ModelRecord,
    Results,
    Sample,
    Skipped,
    UtteranceRecord,
    load_results,
)
from resyn.evaluation.samples import FOLDER as ASSETS
from resyn.evaluation.samples import choose_samples, write_sample
from resyn.evaluation.scoring import Entry, Scorer
from resyn.evaluation.statistics import summary_interval
from resyn.evaluation.synthesis import Synthesizer
from resyn.evaluation.systems import EvaluatedModel, System, public_name, shared_num_coarse
from resyn.evaluation.utterances import UtteranceSet
from resyn.storage import Storage, open_storage

#: Utterances synthesised before their takes are compared; bounds the audio held in memory.
BLOCK = 16


def evaluate(
    config: EvaluateConfig,
    models: Sequence[EvaluatedModel],
    codec: Codec,
    data: UtteranceSet,
    parallel_map: ParallelMap = serial_map,
    model_map: ParallelMap | None = None,
) -> Results:
    """Measure every system on every utterance; writes the samples and the cache to the output.

    `model_map` serves the metrics that run a model, and is `parallel_map` unless given. Results
    that are complete there, of the same fingerprint, come back as they are. Raises UserError for
    models that cannot share a table.
    """
    plan = make_plan(config, models, codec.spec, data)
    storage = open_storage(config.output)
    stored = load_results(storage)
    if stored and stored.fingerprint == plan.fingerprint() and _samples_exist(storage, stored):
        print(f"evaluate: {config.output} is complete (fingerprint {stored.fingerprint}): reused")
        return stored
    storage.remove(ASSETS)
    synthesizer = Synthesizer(codec, models, config.seed, config.run.device)
    synthesizer.warm_up(plan.systems, min(data.utterances, key=lambda utt: utt.audio.seconds))
    scorer = Scorer(plan, parallel_map, model_map or parallel_map)
    records: list[UtteranceRecord] = []
    samples: list[Sample] = []
    for start in range(0, len(data.utterances), BLOCK):
        block = _synthesise(plan, synthesizer, storage, start)
        samples += _write_samples(plan, storage, block, start)
        scorer.score(block)
        records += [_record(plan, entry) for entry in block]
    print(scorer.summary(), file=sys.stderr)
    return _summarise(plan, records, samples)


def _samples_exist(storage: Storage, results: Results) -> bool:
    tiles = [tile for sample in results.samples for tile in sample.tiles]
    return all(storage.exists(tile.audio) and storage.exists(tile.spectrogram) for tile in tiles)


def _synthesise(plan: Plan, synthesizer: Synthesizer, storage: Storage, start: int) -> list[Entry]:
    utterances = plan.data.utterances[start : start + BLOCK]
    progress = Progress("synthesis", "utterances", len(utterances))
    block: list[Entry] = []
    for utterance in utterances:
        frames = synthesizer.encode(utterance)
        takes = {s.key: synthesizer.take(s, utterance, frames) for s in plan.systems}
        hashes = {key: audio_sha256(take.audio) for key, take in takes.items()}
        cache = MetricCache(storage, utterance.audio, utterance.text)
        block.append(Entry(utterance, audio_sha256(utterance.audio), cache, takes, hashes))
        progress.advance()
    return block


def _write_samples(
    plan: Plan, storage: Storage, block: Sequence[Entry], start: int
) -> Iterator[Sample]:
    chosen = choose_samples(len(plan.data.utterances), plan.config.samples_on_page)
    shown = [system for system in plan.systems if system.group != "codebooks"]
    for index, entry in enumerate(block, start):
        if index in chosen:
            yield write_sample(storage, index + 1, entry.utterance, shown, entry.takes)


def _record(plan: Plan, entry: Entry) -> UtteranceRecord:
    utterance = entry.utterance
    values: dict[str, dict[str, Score]] = {}
    for system in plan.systems:
        take = entry.takes[system.key]
        known = entry.values[system.key] | {latent.NAME: take.latent_error, rtf.NAME: take.rtf}
        values[system.key] = {name: known[name] for name in plan.columns(system)}
    return UtteranceRecord(
        utt_id=utterance.utt_id,
        speaker=utterance.speaker,
        text=utterance.text,
        source=utterance.source,
        seconds=utterance.audio.seconds,
        sha256=entry.sha256,
        values=values,
    )


def _summarise(
    plan: Plan, records: Sequence[UtteranceRecord], samples: Sequence[Sample]
) -> Results:
    aggregates = {
        system.key: {
            name: summary_interval(
                (record.values[system.key][name] for record in records),
                plan.metrics[name].per_word,
            )
            for name in plan.columns(system)
        }
        for system in plan.systems
    }
    # The page may be published: neither this machine's folders nor a server's address.
    unpublished = {"model", "input", "output", "codec_weights", "tracking_uri"}
    unpublished |= set(MODEL_SETTINGS.values())
    results = Results(
        resyn_version=resyn.__version__,
        fingerprint=plan.fingerprint(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        codec=plan.spec,
        num_coarse=shared_num_coarse(plan.models),
        models=tuple(_model_record(model) for model in plan.models),
        settings=plan.config.model_dump(mode="json", exclude=unpublished),
        metrics=plan.metrics,
        systems=tuple(_public_system(system) for system in plan.systems),
        utterances=tuple(records),
        aggregates=aggregates,
        skipped=tuple(Skipped(source=s, reason=r) for s, r in plan.data.skipped),
        samples=tuple(samples),
    )
    return results.model_copy(update={"notes": tuple(write_notes(results))})


def _public_system(system: System) -> System:
    if system.model is None:
        return system
    return system.model_copy(update={"model": public_name(system.model)})


def _model_record(model: EvaluatedModel) -> ModelRecord:
    method = model.resynthesizer.method
    std = model.resynthesizer.space.std.float().cpu()
    return ModelRecord(
        uri=public_name(model.uri),
        fingerprint=model.fingerprint,
        method=method.name,
        title=method.title,
        num_coarse=model.resynthesizer.num_coarse,
        latent_std_sha256=hashlib.sha256(std.numpy().tobytes()).hexdigest()[:16],
    )
