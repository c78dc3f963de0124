"""What a reproduction's training takes and took, and in what it differs from the paper's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from resyn.codec import CodecSpec
from resyn.config.reproduce import ReproduceConfig
from resyn.config.train import TrainConfig
from resyn.data.shards import ShardReader
from resyn.errors import UserError
from resyn.evaluation.reproduction import ModelFacts, same_scale
from resyn.evaluation.results import Results
from resyn.methods import parse_method
from resyn.methods.base import recipe_of
from resyn.training.best import BEST, Mark
from resyn.training.checkpoint import CheckpointStore
from resyn.training.data import TrainingData
from resyn.training.plan import count_parameters, plan_training

#: The paper's codec (appendix A.1), whose shards need not be there for an estimate.
PAPER_CODEC = CodecSpec("encodec_24khz", "", 24_000, 320, 128, 8, 1024)
PAPER_HOURS, PAPER_STEPS, PAPER_PARAMETERS = 60_000, 1_000_000, 210e6
#: Of Table 2's smaller set, LibriSpeech (section 3.2).
PAPER_SUBSET_HOURS, PAPER_SUBSET_STEPS = 960, 500_000
#: Sustained rate that the estimate of GPU time assumes, in FLOP/s; the paper's four A6000 over nine
#: days come to 97 TFLOP/s at 6 FLOP per parameter and frame.
ASSUMED_FLOPS = 1e14


def describe_training(config: TrainConfig) -> Iterator[str]:
    """One model's plan, or what of it is known before there are shards; and an estimate."""
    spec = PAPER_CODEC
    try:
        plan = plan_training(config)
        spec = plan.reader.spec
        yield plan.describe()
    except UserError as error:
        yield f"steps       {config.steps}"
        yield f"not yet     {error}"
    parameters = parameters_of(config, spec)
    frames = config.batch.batch_seconds * spec.frame_rate
    flop = 6 * parameters * frames * config.steps
    hours = flop / ASSUMED_FLOPS / 3600
    speech = config.batch.batch_seconds * config.steps / 3600
    yield (
        f"compute     {parameters / 1e6:.1f}M parameters, {speech:,.1f} h of speech seen, "
        f"{flop:.1e} FLOP: {hours:,.2f} h at {ASSUMED_FLOPS / 1e12:.0f} TFLOP/s"
    )


def parameters_of(config: TrainConfig, spec: CodecSpec) -> int:
    """Trainable parameters of the network; nothing is allocated."""
    with torch.device("meta"):
        network = config.typed_method.build_network(spec, config.model)
    return sum(parameter.numel() for parameter in network.parameters())


def best_mark(run: str) -> Mark | None:
    """Which checkpoint of a run is its best, and by what; None where none is marked."""
    store = CheckpointStore(run)
    return Mark(**store.storage.read_json(BEST)) if store.best() else None


def model_facts(name: str, config: TrainConfig, *, subset: bool, best: bool) -> ModelFacts:
    """What a trained model is; `best` says that its best checkpoint is scored, not its last."""
    reader = ShardReader(config.shards)
    data = TrainingData(config, reader)
    seconds = float(reader.segments.num_frames[data.kept].sum()) / reader.spec.frame_rate
    speech = f"{seconds / 3600:,.2f} h" if seconds >= 600 else f"{seconds:.0f} s"
    return ModelFacts(
        name=name,
        title=config.typed_method.title,
        parameters=count_parameters(config, reader),
        steps=plan_training(config).done_steps,
        hours=seconds / 3600,
        data=f"{speech} in {len(data.kept)} segments",
        subset=subset,
        **({"scored": _scored(config.output)} if best else {}),
    )


def _scored(run: str) -> str:
    """How the best checkpoint was chosen."""
    mark = best_mark(run)
    assert mark is not None, "a best checkpoint was scored"
    figure = mark.metric.removeprefix("validation_").replace("_", " ")
    step = int(mark.checkpoint.rpartition("-")[2])
    return f"best checkpoint by {figure} on training speech held out (step {step})"


def differences(
    config: ReproduceConfig,
    full: Results,
    subset: Results | None,
    models: Sequence[ModelFacts],
) -> Iterator[str]:
    """In what this is not the paper's experiment, or not known to be, in words."""
    if full.codec.name != PAPER_CODEC.name:
        yield f"other codec: {full.codec.name} in place of EnCodec at 6 kbps"
    if config.scale == "demo":
        yield "other data: synthetic speech, and for evaluation synthetic voices not trained on"
    else:
        yield "the evaluation set is the one given, not checked to be LibriSpeech test-clean"
        if models:
            yield "the training speech is that of the shards given, not checked to be LibriLight"
    if config.evaluate.max_utterances is not None:
        yield f"scored on at most {config.evaluate.max_utterances} of the utterances"
    for model in models:
        if told := list(_other_training(model)):
            yield f"{'Table 2, ' if model.subset else ''}{model.title}: {'; '.join(told)}"
    if subset is not None and not same_scale(full, subset):
        yield "no latent error in Table 2: the two sets of shards scale latents differently"
    if models:
        yield from _other_recipes(config)


def _other_training(model: ModelFacts) -> Iterator[str]:
    """In what a model's data, size and steps are not the paper's."""
    if model.subset and not 0.8 < model.hours / PAPER_SUBSET_HOURS < 1.25:
        yield f"{model.data} in place of {PAPER_SUBSET_HOURS} h of LibriSpeech"
    if not model.subset and model.hours < 0.8 * PAPER_HOURS:
        yield f"{model.data} in place of {PAPER_HOURS:,} h of LibriLight"
    if not 0.8 < model.parameters / PAPER_PARAMETERS < 1.2:
        yield f"{model.parameters / 1e6:.1f} million parameters in place of 210"
    if model.steps != (PAPER_SUBSET_STEPS if model.subset else PAPER_STEPS):
        yield f"{model.steps} steps in place of {'half ' if model.subset else ''}a million"


def _other_recipes(config: ReproduceConfig) -> Iterator[str]:
    """Hyper-parameters of the methods that the preset sets otherwise than the paper."""
    from resyn.presets import preset

    for name in config.methods:
        ours = recipe_of(preset(config.preset, name).typed_method)
        theirs = recipe_of(parse_method({"name": name}))
        changed = [f"{k} = {v}" for k, v in ours.items() if theirs.get(k) != v]
        if changed:
            yield f"{name} with {', '.join(changed)}, which the paper does not use"
