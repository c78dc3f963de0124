"""What an actor loads is what the run was planned with, or the run ends in one line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import resyn.codec
from resyn.codec import Codec, load_codec
from resyn.codec.demo import WEIGHTS
from resyn.config.encode import EncodeConfig
from resyn.data.commit import commit_unit
from resyn.data.decode import decode_unit
from resyn.data.job import Job, Recipe, open_job
from resyn.data.ledger import read_records
from resyn.data.plan import PlanSettings, read_rows
from resyn.data.schema import read_precision
from resyn.errors import RunError, UserError
from resyn.runtime.actor_codec import ActorCodec
from resyn.runtime.codec_actors import CodecActors, Offer, plan_actors
from resyn.runtime.ray_data import encode_units
from resyn.storage import open_storage
from tests.s3_proxy import S3

ONE_CPU = Offer(cpus=1, gpus=0, most_gpus=0)
FULL = "CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines."


@pytest.fixture(autouse=True)
def _as_it_was() -> None:
    torch.set_num_threads(1)


def config(**values: object) -> EncodeConfig:
    return EncodeConfig(codec="demo_24khz", segment_seconds=30.0).override(values)


def on_cpu(settings: EncodeConfig) -> CodecActors:
    return plan_actors(settings, ONE_CPU, num_units=1)


@pytest.fixture
def tree(tmp_path: Path, make_librilight: Callable[..., Path]) -> Path:
    return make_librilight(tmp_path / "tree", seconds=(1.0, 1.5))


def planned(tree: Path, output: Path, codec: Codec) -> Job:
    """Two units of one file each."""
    recipe = Recipe(codec.spec, ("codes",), PlanSettings("folder", 30.0, 0.01))
    return open_job(open_storage(str(tree)), open_storage(str(output)), recipe, codec)


def decoded(job: Job) -> pa.Table:
    unit = job.pending()[0]
    return decode_unit(job.input, read_rows(job.output, unit), 24_000, with_audio=False)


def test_driver_and_actors_of_a_machine_fetch_the_weights_once(
    s3: S3, tree: Path, tmp_path: Path
) -> None:
    s3.put("codecs")
    s3.put("codecs/demo.safetensors", WEIGHTS.read_bytes())
    s3.calm()
    settings = config(
        codec_weights="s3://codecs/demo.safetensors", weights_cache=str(tmp_path / "cache")
    )
    driver = load_codec("demo_24khz", settings.codec_weights, cache=settings.weights_cache)
    assert driver.spec.weights_sha256 == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    table = decoded(planned(tree, tmp_path / "out", driver))
    actors = [ActorCodec(driver.spec, settings, on_cpu(settings)) for _ in range(2)]
    one, other = (actor.encode(table) for actor in actors)
    assert one == other
    assert one[0]["codes"].null_count == 0
    assert s3.count("GET", "codecs/demo.safetensors") == 1


def test_other_weights_than_planned_are_refused(tree: Path, tmp_path: Path) -> None:
    driver = load_codec("demo_24khz")
    other = replace(driver.spec, weights_sha256="0" * 64)
    table = decoded(planned(tree, tmp_path / "out", driver))
    with pytest.raises(RunError, match=r"found weights \w{12}, the driver 0{12}; name one file"):
        ActorCodec(other, config(), on_cpu(config())).encode(table)


def test_a_gpu_that_torch_cannot_use_is_named(tree: Path, tmp_path: Path) -> None:
    assert not torch.cuda.is_available(), "this test is for machines without a GPU"
    driver = load_codec("demo_24khz")
    actors = plan_actors(config(), Offer(cpus=4, gpus=1, most_gpus=1), num_units=1)
    table = decoded(planned(tree, tmp_path / "out", driver))
    with pytest.raises(RunError, match=r"--device cuda: torch .* cannot use the GPU of .*nvidia-s"):
        ActorCodec(driver.spec, config(), actors).encode(table)


def full(*_: object) -> Codec:
    raise torch.OutOfMemoryError(FULL)


def test_a_full_gpu_is_explained_in_one_line(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = load_codec("demo_24khz")
    table = decoded(planned(tree, tmp_path / "out", driver))
    monkeypatch.setitem(resyn.codec.CODECS, "demo_24khz", f"{__name__}:full")
    settings = config(batch_size=32)
    with pytest.raises(RunError, match=r"Tried to allocate .* \(--set batch_size=16\)") as caught:
        ActorCodec(driver.spec, settings, on_cpu(settings)).encode(table)
    assert "\n" not in str(caught.value)


def test_weights_that_vanish_end_the_run_in_one_line_and_come_back(
    tree: Path, tmp_path: Path, ray_cluster: None
) -> None:
    """The codec's loading fails in Ray's actor, and is not tried again; nothing is committed.

    The error is held meanwhile, and holds no actor whose CPUs the next run needs.
    """
    weights = tmp_path / "codec.safetensors"
    weights.write_bytes(WEIGHTS.read_bytes())
    settings = config(
        codec_weights=str(weights),
        columns="codes",
        weights_cache=str(tmp_path / "cache"),
        num_actors=1,
    )
    job = planned(tree, tmp_path / "out", load_codec("demo_24khz", str(weights)))
    weights.unlink()
    with pytest.raises(RunError, match=r"stopped: --codec-weights .*: no such file on") as caught:
        list(encode_units(job, settings, job.pending()))
    assert "\n" not in str(caught.value)
    assert list(read_records(job.output)) == []
    weights.write_bytes(WEIGHTS.read_bytes())
    units = list(encode_units(job, settings, job.pending()))
    assert len(units) == len(list(read_records(job.output))) == 2
    assert job.pending() == []


def test_precision_is_a_part_of_the_recipe(tree: Path, tmp_path: Path) -> None:
    codec = load_codec("demo_24khz")
    job = planned(tree, tmp_path / "out", codec)
    rounded = replace(job.recipe, precision="bf16")
    assert rounded.fingerprint != job.recipe.fingerprint
    with pytest.raises(UserError, match=r"\(precision is fp32 there, bf16 here\)"):
        open_job(job.input, job.output, rounded, codec)
    settings = config(precision="bf16")
    table = decoded(job)
    made = [
        ActorCodec(codec.spec, each, on_cpu(each)).encode(table)[0] for each in (config(), settings)
    ]
    codes = [np.frombuffer(table["codes"][0].as_py(), "<u2") for table in made]
    assert 0.3 < np.mean(codes[0] == codes[1]) < 1
    commit_unit(job.output, 0, made[1], codec.spec, ("codes",), rounded.precision)
    with job.output.open("shards/000000.parquet") as shard:
        assert read_precision(pq.read_schema(shard)) == "bf16"
