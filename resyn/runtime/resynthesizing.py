"""The work behind `pipelines/resynthesize.py`."""

from __future__ import annotations

import re
import time

import torch

from resyn.audio.write import write_wav
from resyn.code_files import CodeSource, code_sources
from resyn.config.resynthesize import ResynthesizeConfig
from resyn.errors import UserError
from resyn.randomness import derive_seed
from resyn.resynthesis import Resynthesizer
from resyn.runtime.models import resolve_model
from resyn.storage import open_storage
from resyn.types import Audio

RECORD = "resynthesis.json"


def load_resynthesizer(config: ResynthesizeConfig) -> Resynthesizer:
    """The model that `config.model` names. Raises UserError when a place is not given or wrong."""
    for flag in ("model", "input", "output"):
        if not getattr(config, flag):
            raise UserError(f"--{flag}: it is needed")
    folder = resolve_model(config.model, config.tracking_uri)
    return Resynthesizer.from_checkpoint(
        folder, codec_weights=config.codec_weights, weights=config.weights
    )


def describe(config: ResynthesizeConfig) -> str:
    """The plan for `--dry-run`."""
    model = load_resynthesizer(config)
    sources = code_sources(config.input, model.spec.name)
    return (
        f"model   {model.method.title} over {model.spec.name}, NFE {_nfe(config, model)}\n"
        f"input   {len(sources)} utterances\noutput  {config.output}"
    )


def resynthesize_all(config: ResynthesizeConfig) -> int:
    """Write one WAV file per utterance and return how many were made; those there are kept.

    An utterance's noise depends on `seed` and its own name, not on the order.
    """
    torch.set_num_threads(config.threads)
    model = load_resynthesizer(config)
    nfe = _nfe(config, model)
    sources = code_sources(config.input, model.spec.name)
    output = open_storage(config.output)
    recipe = {"model": config.model, "nfe": nfe, "seed": config.seed, "codec": model.spec.to_dict()}
    if output.exists(RECORD) and output.read_json(RECORD) != recipe:
        raise UserError(f"{config.output}: made with other settings ({RECORD}); choose another")
    output.write_json(RECORD, recipe)
    made, started, seconds = 0, time.perf_counter(), 0.0
    for number, source in enumerate(sources, start=1):
        name = f"{_safe(source[0])}.wav"
        if output.exists(name):
            continue
        audio = _one(model, source, nfe, config.seed)
        write_wav(output, name, audio)
        made, seconds = made + 1, seconds + audio.seconds
        factor = (time.perf_counter() - started) / seconds
        print(
            f"{number}/{len(sources)}  {name}  {audio.seconds:.1f} s  RTF {factor:.3f}", flush=True
        )
    if not made:
        print(f"nothing to do: {len(sources)} utterances are complete in {config.output}")
    return made


def _nfe(config: ResynthesizeConfig, model: Resynthesizer) -> int:
    return model.default_nfe if config.nfe is None else model.check_nfe(config.nfe)


def _one(model: Resynthesizer, source: CodeSource, nfe: int, seed: int) -> Audio:
    name, load = source
    given = load()
    codes = model.coarse_codes(given) if isinstance(given, Audio) else given
    try:
        return model.resynthesize(codes, nfe, derive_seed(seed, name))
    except UserError as error:
        raise UserError(f"{name}: {error}") from error


def _safe(name: str) -> str:
    """A file name from an utterance's id."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "utterance"
