"""Encoding on Ray Data: every work unit is one row from end to end.

decode (CPU tasks) -> encode (a pool of codec actors) -> commit (CPU tasks). Nothing fans out, so
a unit is either committed or not, and Ray may retry any step of it.
"""

from __future__ import annotations

import gc
import json
import logging
import re
import struct
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.exceptions import RayError

from resyn.codec import CodecSpec
from resyn.config.encode import EncodeConfig
from resyn.data.commit import commit_unit
from resyn.data.decode import decode_unit
from resyn.data.job import Job
from resyn.data.ledger import CommitRecord
from resyn.data.plan import read_rows
from resyn.data.units import WorkUnit
from resyn.errors import RunError
from resyn.runtime.actor_codec import ActorCodec
from resyn.runtime.codec_actors import (
    TASK_CPUS,
    UNITS_PER_CALL,
    CodecActors,
    offered,
    plan_actors,
)
from resyn.runtime.ray_cluster import ensure_ray
from resyn.runtime.units_in_flight import bound_units
from resyn.storage_faults import explained

#: Actors that may die in a row while they start, with their machine, before the run is given up.
#: What their codec itself raises ends the run at once.
_LOST_STARTS = 3


@dataclass(frozen=True, slots=True)
class EncodedUnit:
    """A finished unit: its record, the seconds that each stage worked on it, and its warnings."""

    record: CommitRecord
    busy: dict[str, float]
    warnings: tuple[str, ...] = ()


def stage_workers(actors: CodecActors) -> dict[str, int]:
    """Workers of each stage on the running cluster as it is, at most."""
    tasks = _task_pool(actors).size
    tasks = tasks or max(1, int(ray.cluster_resources().get("CPU", 1) / TASK_CPUS))
    return {"decode": tasks, "encode": actors.most, "commit": tasks}


def encode_units(
    job: Job, config: EncodeConfig, units: list[WorkUnit], actors: CodecActors | None = None
) -> Iterator[EncodedUnit]:
    """Encode `units` and yield them as they are done, in any order.

    `actors` are by default those that `config` gives on the cluster. Raises RunError when a unit
    fails for another reason than its audio, and when an actor cannot load the codec.
    """
    ensure_ray()
    _quieten_ray_data()
    actors = actors or plan_actors(config, offered(), len(units))
    dataset = _pipeline(job, config, units, actors)
    fault: tuple[str, str] | None = None
    try:
        for row in dataset.iter_rows():
            record, notes = CommitRecord(**json.loads(row["record"])), json.loads(row["notes"])
            yield EncodedUnit(record, notes["busy"], tuple(notes["warnings"]))
    except RayError as error:
        fault = _cause(error), str(error)
    finally:
        # Whoever holds Ray's own exception, or the dataset, holds its actors and their CPUs and
        # GPUs; some of it hangs together in cycles.
        del dataset
        gc.collect()
    if fault:
        raise RunError(f"encoding stopped: {fault[0]}") from RuntimeError(fault[1])


def _pipeline(
    job: Job, config: EncodeConfig, units: list[WorkUnit], actors: CodecActors
) -> ray.data.Dataset:
    pool = ray.data.ActorPoolStrategy(
        min_size=actors.least,
        max_size=actors.most,
        max_tasks_in_flight_per_actor=UNITS_PER_CALL,
    )
    tasks = {"compute": _task_pool(actors), "num_cpus": TASK_CPUS}
    dataset = (
        ray.data.from_items([asdict(unit) for unit in units], override_num_blocks=len(units))
        .map_batches(_Decode(job), batch_size=1, batch_format="pyarrow", **tasks)
        .map_batches(
            _Encoder,
            fn_constructor_args=(job.recipe.codec, config, actors),
            compute=pool,
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=actors.cpus,
            num_gpus=actors.gpus or None,
        )
        .map_batches(_Commit(job), batch_size=1, batch_format="pyarrow", **tasks)
    )
    bound_units(dataset, actors.units)
    dataset.context.max_consecutive_actor_init_deaths = _LOST_STARTS
    return dataset


def _quieten_ray_data() -> None:
    """Its bars and notes; the notes still go to Ray's session log."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    for handler in logging.getLogger("ray.data").handlers:
        if handler.name == "console":
            handler.setLevel(logging.CRITICAL)


def _task_pool(actors: CodecActors) -> ray.data.TaskPoolStrategy:
    """One decoder feeds many CPU actors, and every further worker process costs its start-up."""
    if actors.device == "cuda":
        return ray.data.TaskPoolStrategy()
    return ray.data.TaskPoolStrategy(size=-(-actors.most // 8))


def _cause(error: RayError) -> str:
    """One line for the exception that our code raised: Ray keeps of it the traceback's text."""
    if ours := re.findall(r"^resyn\.errors\.\w+Error: (.+)", str(error), re.MULTILINE):
        return ours[-1]
    first, *_ = str(error).split("The above exception was the direct cause", 1)
    return f"{first.strip().splitlines()[-1]}; the same command resumes"


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
        notes: dict[str, Any] = {"busy": {}, "warnings": []}
        return _row(unit.unit, table, notes, decode=time.perf_counter() - started)


class _Encoder:
    """A codec that stays loaded; one per actor."""

    def __init__(self, spec: CodecSpec, config: EncodeConfig, actors: CodecActors) -> None:
        self._codec = ActorCodec(spec, config, actors)

    def __call__(self, batch: pa.Table) -> pa.Table:
        started = time.perf_counter()
        unit, table, notes = _unpack(batch)
        table, warnings = self._codec.encode(table)
        notes["warnings"] += warnings
        return _row(unit, table, notes, encode=time.perf_counter() - started)


@dataclass(frozen=True, slots=True)
class _Commit:
    job: Job

    def __call__(self, batch: pa.Table) -> pa.Table:
        started = time.perf_counter()
        unit, table, notes = _unpack(batch)
        recipe = self.job.recipe
        record = commit_unit(
            self.job.output, unit, table, recipe.codec, recipe.columns, recipe.precision
        )
        notes["busy"]["commit"] = time.perf_counter() - started
        return pa.table({"record": [json.dumps(asdict(record))], "notes": [json.dumps(notes)]})


def _row(unit: int, table: pa.Table, notes: dict[str, Any], **busy: float) -> pa.Table:
    """A unit's table as the one row in which it travels; its bytes are not copied."""
    notes["busy"] |= busy
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue()
    offsets = pa.py_buffer(struct.pack("<qq", 0, data.size))
    cell = pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, data])
    columns = {"unit": pa.array([unit], pa.int32()), "table": cell, "notes": [json.dumps(notes)]}
    return pa.table(columns)


def _unpack(batch: pa.Table) -> tuple[int, pa.Table, dict[str, Any]]:
    """Inverse of `_row`."""
    cell = batch["table"][0].as_buffer()
    notes = json.loads(batch["notes"][0].as_py())
    return batch["unit"][0].as_py(), pa.ipc.open_stream(cell).read_all(), notes
