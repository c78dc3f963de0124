"""The work behind `pipelines/resynthesize.py`."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from resyn.audio.write import write_wav_pieces
from resyn.code_files import CodeSource, code_sources
from resyn.config.resynthesize import ResynthesizeConfig
from resyn.errors import UserError
from resyn.methods import read_sampling
from resyn.randomness import derive_seed
from resyn.resynthesis import Resynthesizer
from resyn.runtime.models import resolve_model
from resyn.sampling.chunks import Chunking
from resyn.storage import Storage, open_storage
from resyn.types import Audio

RECORD = "resynthesis.json"


def load_resynthesizer(config: ResynthesizeConfig) -> Resynthesizer:
    """The model that `config.model` names. Raises UserError when a place is not given or wrong."""
    for flag in ("model", "input", "output"):
        if not getattr(config, flag):
            raise UserError(f"--{flag}: it is needed")
    folder = resolve_model(config.model, config.tracking_uri)
    return Resynthesizer.from_checkpoint(
        folder,
        codec_weights=config.codec_weights,
        weights=config.weights,
        sampling=read_sampling(config.sampling),
    )


def describe(config: ResynthesizeConfig) -> str:
    """The plan for `--dry-run`."""
    model = load_resynthesizer(config)
    sources = code_sources(config.input, model.spec.name)
    chunking = _chunking(config, model)
    stretch = "" if chunking is None else f", at most {chunking.chunk} frames at once"
    return (
        f"model   {model.method.title} over {model.spec.name}, NFE {_nfe(config, model)}{stretch}\n"
        f"input   {len(sources)} utterances\noutput  {config.output}"
    )


def resynthesize_all(config: ResynthesizeConfig) -> int:
    """Write one WAV file per utterance and return how many were made; those there are kept.

    An utterance's noise depends on `seed` and its own name, not on the order or the batch.
    """
    torch.set_num_threads(config.threads)
    model = load_resynthesizer(config)
    sources = code_sources(config.input, model.spec.name)
    output = open_storage(config.output)
    _distinct(sources)
    _claim(output, config, model)
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


def _claim(output: Storage, config: ResynthesizeConfig, model: Resynthesizer) -> None:
    """Record the recipe in `output`. Raises UserError when it holds another one's waveforms."""
    recipe: dict[str, Any] = {"model": config.model, "nfe": _nfe(config, model)}
    recipe |= {"seed": config.seed, "codec": model.spec.to_dict()}
    chunking = _chunking(config, model)
    if chunking is not None:
        recipe |= {"chunk": chunking.chunk, "overlap": chunking.overlap}
    if config.sampling:
        recipe |= {"sampling": sorted(config.sampling)}
    if output.exists(RECORD) and output.read_json(RECORD) != recipe:
        raise UserError(f"{config.output}: made with other settings ({RECORD}); choose another")
    output.write_json(RECORD, recipe)


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
    seeds = [derive_seed(config.seed, name) for name, _ in sources]
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
    name, load = source
    given = load()
    try:
        codes = model.coarse_codes(given) if isinstance(given, Audio) else given
        return model.read(codes)[0].numpy()
    except UserError as error:
        raise UserError(f"{name}: {error}") from error


def _file(source: CodeSource) -> str:
    """The name of an utterance's file."""
    safe = re.sub(r"[^\w.-]+", "_", source[0]).strip("._")
    return f"{safe or 'utterance'}.wav"
