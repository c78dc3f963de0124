"""The page that travels with a model: what it is, what made it, what it may be used for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resyn.codec import CodecSpec
from resyn.errors import UserError
from resyn.methods import METHODS
from resyn.storage import open_storage
from resyn.training.checkpoint import STATE

#: What is known about the licence of each codec's weights.
CODEC_LICENCES = {
    "encodec": "EnCodec's package metadata says CC BY-NC 4.0: no commercial use of its weights.",
    "demo": "The codec's weights were trained by resyn on synthetic speech and share its licence.",
}

TEMPLATE = """\
# {title} for {codec} tokens

Turns the first {num_coarse} codebook level(s) of `{codec}` into speech: a *{title}* model,
trained with resyn for {step} steps on {examples} crops.

## Use
```python
import mlflow
model = mlflow.pyfunc.load_model("models:/NAME@ALIAS")
waveform = model.predict(codes, params={{"seed": 0}})  # codes ({num_coarse}, T) int64
```
or `Resynthesizer.from_checkpoint(folder).resynthesize(codes)` with resyn alone. The waveform is
mono float32 at {sample_rate} Hz, {hop} samples a frame; codes run from 0 to {last_code}.

## Made from
| | |
|---|---|
| method | {method} |
| codec | `{codec}`, weights {codec_sha256} |
| data | shards {shards} |
| network | {network} |
| optimiser | {optimiser} |
| batch | {batch} |
| recipe, seed | {recipe}, {seed} |
{metrics}
## Licence
The code is MIT. {codec_licence} The recordings that a model learnt from keep their own licence.

## Limits
Only codes of this codec, by these weights, make sense. Speech unlike the training data (other
languages, noise, music) has not been tried. Resynthesis gives a plausible waveform, not the
recorded one: it is no evidence of what was said or by whom.
"""


def model_card(directory: str, metrics: Mapping[str, float] | None = None) -> str:
    """Markdown written from the checkpoint at the URI `directory`.

    `metrics` replace those of the last validation. Raises UserError for a folder that is none.
    """
    folder = open_storage(directory)
    for name in ("config.json", STATE):
        if not folder.exists(name):
            raise UserError(f"{directory}: no {name}, so no checkpoint; name another folder")
    config, state = folder.read_json("config.json"), folder.read_json(STATE)
    spec = CodecSpec(**config["codec"])
    train, method = config["train"], dict(config["method"])
    shown = state.get("metrics", {}) if metrics is None else metrics
    return TEMPLATE.format(
        title=METHODS[method["name"]].title,
        num_coarse=method.get("num_coarse", 1),
        codec=spec.name,
        codec_sha256=spec.weights_sha256[:16],
        sample_rate=spec.sample_rate,
        hop=spec.hop,
        last_code=spec.codebook_size - 1,
        method=_listed(method),
        network=_listed(config["model"]),
        optimiser=_listed(train["optim"]),
        batch=_listed(train["batch"]),
        shards=state.get("shard_fingerprint", "unknown"),
        recipe=state.get("recipe", "unknown"),
        seed=train["seed"],
        step=state["step"],
        examples=state["examples"],
        metrics=_metrics_section(shown),
        codec_licence=_codec_licence(spec),
    )


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _metrics_section(metrics: Mapping[str, float]) -> str:
    if not metrics:
        return ""
    rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in sorted(metrics.items()))
    return f"\n## Measured\n| metric | value |\n|---|---|\n{rows}\n"


def _codec_licence(spec: CodecSpec) -> str:
    if spec.random_weights:
        return "**The codec's weights are random: fit for tests of shape and speed alone.**"
    known = (note for name, note in CODEC_LICENCES.items() if spec.name.startswith(name))
    return next(known, f"The licence of the weights of `{spec.name}` is its maker's.")
