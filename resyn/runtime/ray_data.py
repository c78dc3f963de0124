"""Encoding on Ray Data: every work unit is one row from end to end.

decode (CPU tasks) -> encode (a pool of codec actors) -> commit (CPU tasks). Nothing fans out, so
a unit is either committed or not, and Ray may retry any step of it.
"""

from __future__ import annotations

import json
import logging
import struct
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import pyarrow as pa
import ray
import ray.data
import torch
from ray.exceptions import RayError

from resyn.codec import CodecSpec, load_codec
from resyn.config.encode import EncodeConfig
from resyn.data.commit import commit_unit
from resyn.data.decode import decode_unit
from resyn.data.encode import BatchShape, encode_unit
from resyn.data.job import Job
from resyn.data.ledger import CommitRecord
from resyn.data.plan import read_rows
from resyn.data.units import WorkUnit
from resyn.errors import RunError
from resyn.runtime.memory import keep_freed_memory
from resyn.runtime.ray_cluster import ensure_ray
from resyn.storage_faults import explained

#: A decode or commit task asks for this share of a CPU, and each actor leaves as much free, so
#: that all steps fit beside each other, on one CPU too.
TASK_CPUS = 0.25


@dataclass(frozen=True, slots=True)
class EncodedUnit:
    """A finished unit: its record, and the seconds that each stage worked on it."""

    record: CommitRecord
    busy: dict[str, float]


def stage_workers(config: EncodeConfig, num_units: int) -> dict[str, int]:
    """Workers of each stage on the cluster as it is. Raises RunError when none fits."""
    ensure_ray()
    num_actors = _num_actors(config, num_units)
    tasks = _task_pool(config, num_actors).size
    tasks = tasks or max(1, int(ray.cluster_resources().get("CPU", 1) / TASK_CPUS))
    return {"decode": tasks, "encode": num_actors, "commit": tasks}


def encode_units(job: Job, config: EncodeConfig, units: list[WorkUnit]) -> Iterator[EncodedUnit]:
    """Encode `units` and yield them as they are done, in any order.

    Raises RunError when a unit fails for another reason than its audio.
    """
    ensure_ray()
    _quieten_ray_data()
    num_actors = _num_actors(config, len(units))
    pool = ray.data.ActorPoolStrategy(size=num_actors, max_tasks_in_flight_per_actor=2)
    tasks = {"compute": _task_pool(config, num_actors), "num_cpus": TASK_CPUS}
    dataset = (
        ray.data.from_items([asdict(unit) for unit in units], override_num_blocks=len(units))
        .map_batches(_Decode(job), batch_size=1, batch_format="pyarrow", **tasks)
        .map_batches(
            _Encoder,
            fn_constructor_args=(job.recipe.codec, config),
            compute=pool,
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=config.threads_per_actor - TASK_CPUS,
            num_gpus=1 if config.device == "cuda" else None,
        )
        .map_batches(_Commit(job), batch_size=1, batch_format="pyarrow", **tasks)
    )
    try:
        for row in dataset.iter_rows():
            yield EncodedUnit(CommitRecord(**json.loads(row["record"])), json.loads(row["busy"]))
    except RayError as error:
        raise RunError(f"encoding stopped: {_cause(error)}") from error


def _quieten_ray_data() -> None:
    """Its bars and notes; the notes still go to Ray's session log."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    for handler in logging.getLogger("ray.data").handlers:
        if handler.name == "console":
            handler.setLevel(logging.CRITICAL)


def _num_actors(config: EncodeConfig, num_units: int) -> int:
    resources = ray.cluster_resources()
    if config.device == "cuda":
        fitting = int(resources.get("GPU", 0))
        if not fitting:
            raise RunError("--set device=cuda: the cluster has no GPU; use device=cpu")
    else:
        fitting = int(resources.get("CPU", 1)) // config.threads_per_actor
    return max(1, min(config.num_actors or fitting, num_units))


def _task_pool(config: EncodeConfig, num_actors: int) -> ray.data.TaskPoolStrategy:
    """One decoder feeds many CPU actors, and every further worker process costs its start-up."""
    if config.device == "cuda":
        return ray.data.TaskPoolStrategy()
    return ray.data.TaskPoolStrategy(size=-(-num_actors // 8))


def _cause(error: RayError) -> str:
    """One line for the exception that our code raised: Ray keeps of it the traceback's text."""
    first, *_ = str(error).split("The above exception was the direct cause", 1)
    line = first.strip().splitlines()[-1]
    _, ours, explained = line.partition(f"{RunError.__name__}: ")
    return explained if ours else f"{line}; the same command resumes"


@dataclass(frozen=True, slots=True)
class _Decode:
    job: Job

    def __call__(self, batch: pa.Table) -> pa.Table:
        started = time.perf_counter()
        unit = WorkUnit(**batch.to_pylist()[0])
        recipe = self.job.recipe
        with_audio = "audio" in recipe.columns
        rate = recipe.codec.sample_rate
        with explained(f"unit {unit.unit} of {self.job.output.uri}"):
            rows = read_rows(self.job.output, unit)
            table = decode_unit(self.job.input, rows, rate, with_audio)
        return _row(unit.unit, table, {"decode": time.perf_counter() - started})


class _Encoder:
    """A codec that stays loaded; one per actor."""

    def __init__(self, spec: CodecSpec, config: EncodeConfig) -> None:
        keep_freed_memory()
        torch.set_num_threads(config.threads_per_actor)
        self._codec = load_codec(config.codec, config.codec_weights, config.device)
        if self._codec.spec != spec:
            raise RunError(
                f"--codec-weights {config.codec_weights}: this worker found weights "
                f"{self._codec.spec.weights_sha256[:12]}, the driver {spec.weights_sha256[:12]}; "
                "use a path that all machines share"
            )
        self._columns = config.columns
        self._shape = BatchShape(config.batch_size, config.bucket_seconds)

    def __call__(self, batch: pa.Table) -> pa.Table:
        started = time.perf_counter()
        unit, table, busy = _unpack(batch)
        table = encode_unit(self._codec, table, self._columns, self._shape)
        return _row(unit, table, busy | {"encode": time.perf_counter() - started})


@dataclass(frozen=True, slots=True)
class _Commit:
    job: Job

    def __call__(self, batch: pa.Table) -> pa.Table:
        started = time.perf_counter()
        unit, table, busy = _unpack(batch)
        recipe = self.job.recipe
        record = commit_unit(self.job.output, unit, table, recipe.codec, recipe.columns)
        busy |= {"commit": time.perf_counter() - started}
        return pa.table({"record": [json.dumps(asdict(record))], "busy": [json.dumps(busy)]})


def _row(unit: int, table: pa.Table, busy: dict[str, float]) -> pa.Table:
    """A unit's table as the one row in which it travels; its bytes are not copied."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue()
    offsets = pa.py_buffer(struct.pack("<qq", 0, data.size))
    cell = pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, data])
    columns = {"unit": pa.array([unit], pa.int32()), "table": cell, "busy": [json.dumps(busy)]}
    return pa.table(columns)


def _unpack(batch: pa.Table) -> tuple[int, pa.Table, dict[str, float]]:
    """Inverse of `_row`."""
    cell = batch["table"][0].as_buffer()
    busy = json.loads(batch["busy"][0].as_py())
    return batch["unit"][0].as_py(), pa.ipc.open_stream(cell).read_all(), busy
