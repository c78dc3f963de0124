"""Outputs encoded without Ray, by the very steps that Ray runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from resyn.codec import Codec, load_codec
from resyn.data.commit import commit_unit
from resyn.data.decode import decode_unit
from resyn.data.encode import BatchShape, encode_unit
from resyn.data.job import Job, Recipe, open_job
from resyn.data.plan import PlanSettings, read_rows
from resyn.storage import open_storage

Encode = Callable[..., Job]


@pytest.fixture(scope="session")
def codec() -> Codec:
    torch.set_num_threads(1)
    return load_codec("encodec_24khz_random")


@pytest.fixture(scope="session")
def waveform() -> Codec:
    return load_codec("waveform_24khz")


def encode_here(
    root: Path,
    output: Path,
    codec: Codec,
    columns: tuple[str, ...] = ("codes", "z"),
    *,
    segment_seconds: float = 1.0,
    unit_minutes: float = 0.05,
    batch_size: int = 1,
) -> Job:
    """Encode what is pending, one unit after another in this process."""
    recipe = Recipe(codec.spec, columns, PlanSettings("auto", segment_seconds, unit_minutes))
    job = open_job(open_storage(str(root)), open_storage(str(output)), recipe, codec)
    for unit in job.pending():
        rows = read_rows(job.output, unit)
        table = decode_unit(job.input, rows, codec.spec.sample_rate, "audio" in columns)
        table = encode_unit(codec, table, columns, BatchShape(batch_size, 0.5))
        commit_unit(job.output, unit.unit, table, codec.spec, columns)
    return job


@pytest.fixture(scope="session")
def encode() -> Encode:
    """The function `encode_here(root, output, codec, columns)`."""
    return encode_here


@pytest.fixture(scope="session")
def encoded(
    tmp_path_factory: pytest.TempPathFactory,
    make_librilight: Callable[..., Path],
    codec: Codec,
) -> Path:
    """Seven segments of codes, z and audio in several units; not to be changed."""
    folder = tmp_path_factory.mktemp("encoded")
    root = make_librilight(folder / "tree", seconds=(2.0, 2.7, 1.5))
    encode_here(root, folder / "out", codec, ("codes", "z", "audio"))
    return folder
