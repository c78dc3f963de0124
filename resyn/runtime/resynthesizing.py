"""The work behind `pipelines/resynthesize.py`."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from resyn.audio.write import write_wav_pieces
from resyn.code_files import CodeSource, code_sources
from resyn.codec.arithmetic import exact_float32
from resyn.config.resynthesize import ResynthesizeConfig
from resyn.errors import UserError
from resyn.methods import read_sampling
from resyn.randomness import derive_seed
from resyn.resynthesis import Resynthesizer
from resyn.runtime.models import checkpoint_digest, resolve_model
from resyn.sampling.chunks import Chunking
from resyn.storage import Storage, open_storage

RECORD = "resynthesis.json"


@dataclass(frozen=True)
class _Model:
    """What makes the waveforms, and digests of its checkpoint and its starter's, if any."""

    maker: Resynthesizer
    digest: str
    start: str | None


def _load(config: ResynthesizeConfig) -> _Model:
    """The model that `config.model` names. Raises UserError when a place is not given or wrong."""
    for flag in ("model", "input", "output"):
        if not getattr(config, flag):
            raise UserError(f"--{flag}: it is needed")
    device = _device(config.device)
    folder = resolve_model(config.model, config.tracking_uri)
    start = config.start_model and resolve_model(config.start_model, config.tracking_uri)
    maker = Resynthesizer.from_checkpoint(
        folder,
        codec_weights=config.codec_weights,
        device=device,
        precision=config.precision,
        weights=config.weights,
        sampling=read_sampling(config.sampling),
        start_from=start,
    )
    return _Model(maker, checkpoint_digest(folder), start and checkpoint_digest(start))


def _device(wanted: str) -> str:
    """The torch device, in whose float32 codes are what they are on a CPU but for last bits.

    Raises UserError for `cuda` where there is none.
    """
    found = torch.cuda.is_available()
    if wanted == "cuda" and not found:
        raise UserError("--device cuda: torch finds no GPU here; use --device auto or cpu")
    if wanted == "cpu" or not found:
        return "cpu"
    exact_float32()
    return "cuda"


def describe(config: ResynthesizeConfig) -> str:
    """The plan for `--dry-run`."""
    model = _load(config).maker
    sources = code_sources(config.input, model.spec)
    chunking = _chunking(config, model)
    stretch = "" if chunking is None else f", at most {chunking.chunk} frames at once"
    return (
        f"model   {model.method.title} over {model.spec.name}, NFE {_nfe(config, model)}{stretch}\n"
        f"device  {model.device}, {model.precision}\n"
        f"input   {len(sources)} utterances\noutput  {config.output}"
    )


def resynthesize_all(config: ResynthesizeConfig, anew: bool = False) -> int:
    """Write one WAV file per utterance and return how many were made.

    Those there are kept, but for those whose input has changed. An utterance's noise depends on
    `seed` and its own name, not on the order or the batch. Waveforms of another checkpoint or of
    other settings in the output folder raise UserError; with `anew` they make room.
    """
    torch.set_num_threads(config.threads)
    loaded = _load(config)
    model = loaded.maker
    sources = code_sources(config.input, model.spec)
    output = open_storage(config.output)
    _distinct(sources)
    _claim(output, config, _recipe(config, loaded), sources, anew)
    made, started, seconds = 0, time.perf_counter(), 0.0
    pending = [s for s in enumerate(sources, start=1) if not output.exists(_file(s[1]))]
    for first in range(0, len(pending), config.batch_size):
        group = pending[first : first + config.batch_size]
        samples = _make([source for _, source in group], model, config, output)
        for (number, source), count in zip(group, samples, strict=True):
            length = count / model.spec.sample_rate
            made, seconds = made + 1, seconds + length
            factor = (time.perf_counter() - started) / seconds
            told = f"{number}/{len(sources)}  {_file(source)}  {length:.1f} s  RTF {factor:.3f}"
            print(told, flush=True)
    if not made:
        print(f"nothing to do: {len(sources)} utterances are complete in {config.output}")
    return made


def _nfe(config: ResynthesizeConfig, model: Resynthesizer) -> int:
    return model.default_nfe if config.nfe is None else model.check_nfe(config.nfe)


def _chunking(config: ResynthesizeConfig, model: Resynthesizer) -> Chunking | None:
    if config.chunk_seconds is None:
        return None
    return Chunking.of_seconds(config.chunk_seconds, config.overlap_seconds, model.spec.frame_rate)


def _distinct(sources: Sequence[CodeSource]) -> None:
    """Raises UserError when two utterances would be written to one file."""
    for name, times in Counter(map(_file, sources)).most_common(1):
        if times > 1:
            raise UserError(f"--input: {times} utterances would be written to {name}; rename them")


def _recipe(config: ResynthesizeConfig, loaded: _Model) -> dict[str, Any]:
    """All but the input that a waveform depends on."""
    model = loaded.maker
    recipe: dict[str, Any] = {"checkpoint": loaded.digest, "weights": config.weights}
    recipe |= {"precision": config.precision, "start": loaded.start}
    recipe |= {"nfe": _nfe(config, model), "seed": config.seed, "codec": model.spec.to_dict()}
    chunking = _chunking(config, model)
    if chunking is not None:
        recipe |= {"chunk": chunking.chunk, "overlap": chunking.overlap}
    if config.sampling:
        recipe |= {"sampling": sorted(config.sampling)}
    return recipe


def _claim(
    output: Storage,
    config: ResynthesizeConfig,
    recipe: dict[str, Any],
    sources: Sequence[CodeSource],
    anew: bool,
) -> None:
    """Record recipe and inputs in `output`, and drop the waveforms that they did not make.

    Raises UserError when it holds waveforms of another recipe, unless all shall be made `anew`.
    """
    record = output.read_json(RECORD) if output.exists(RECORD) else {}
    made_with, tags = record.get("recipe", {}), record.get("inputs", {})
    changed = sorted(k for k in {*recipe, *made_with} if recipe.get(k) != made_with.get(k))
    if record and changed and not anew:
        raise UserError(
            f"{config.output}: made with other settings ({', '.join(changed)}; see {RECORD}); "
            "choose another folder, or empty this one"
        )
    wanted = {_file(source): source.tag for source in sources}
    present = set(output.names(suffix=".wav"))
    strangers = sorted(present & (wanted.keys() - tags.keys()))
    if strangers and not anew:
        raise UserError(f"{config.output}: {strangers[0]} is not of this command; choose another")
    for name in present & {*tags, *wanted}:
        if changed or tags.get(name) != wanted.get(name, tags.get(name)):
            output.remove(name)
    inputs = wanted if changed else tags | wanted
    output.write_json(RECORD, {"model": config.model, "recipe": recipe, "inputs": inputs})


def _make(
    sources: Sequence[CodeSource],
    model: Resynthesizer,
    config: ResynthesizeConfig,
    output: Storage,
) -> list[int]:
    """Write the waveforms of `sources` and return the samples of each.

    All go through the network together, but for those longer than a chunk.
    """
    nfe, chunking = _nfe(config, model), _chunking(config, model)
    codes = [_codes(model, source) for source in sources]
    seeds = [derive_seed(config.seed, source.name) for source in sources]
    most = max(c.shape[-1] for c in codes) if chunking is None else chunking.chunk
    short = [i for i, c in enumerate(codes) if c.shape[-1] <= most]
    together = short if len(short) > 1 else []
    audios = model.resynthesize_batch(
        [codes[i] for i in together], nfe, seeds=[seeds[i] for i in together]
    )
    ready = dict(zip(together, audios, strict=True))
    counts: list[int] = []
    for i, source in enumerate(sources):
        whole = ready.get(i)
        pieces = [whole.samples] if whole else model.stream(codes[i], nfe, seeds[i], chunking)
        counts.append(write_wav_pieces(output, _file(source), pieces, model.spec.sample_rate))
    return counts


def _codes(model: Resynthesizer, source: CodeSource) -> np.ndarray:
    """Coarse codes (c,T) of an utterance. Raises UserError, with its name, when they do not fit."""
    given = source.load()
    try:
        codes = given if isinstance(given, np.ndarray) else model.coarse_codes(given)
        return model.read(codes)[0].numpy()
    except UserError as error:
        raise UserError(f"{source.name}: {error}") from error


def _file(source: CodeSource) -> str:
    """The name of an utterance's file."""
    safe = re.sub(r"[^\w.-]+", "_", source.name).strip("._")
    return f"{safe or 'utterance'}.wav"
