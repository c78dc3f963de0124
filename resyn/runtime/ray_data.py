"""Encoding on Ray Data: every work unit is one row from end to end.

decode (CPU tasks) -> encode (a pool of codec actors) -> commit (CPU tasks). Nothing fans out, so
a unit is either committed or not, and Ray may retry any step of it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import pyarrow as pa
import ray
import ray.data
import torch
from ray.exceptions import OutOfDiskError, RayError

from resyn.codec import CodecSpec, load_codec
from resyn.config.encode import EncodeConfig
from resyn.data.encode import BatchShape, encode_unit
from resyn.data.job import Job
from resyn.data.ledger import CommitRecord
from resyn.data.units import WorkUnit
from resyn.errors import RunError
from resyn.runtime.encode_steps import Commit, Decode, from_row, to_row
from resyn.runtime.memory import keep_freed_memory
from resyn.runtime.ray_cluster import ensure_ray

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
        .map_batches(Decode(job), batch_size=1, batch_format="pyarrow", **tasks)
        .map_batches(
            _Encoder,
            fn_constructor_args=(job.recipe.codec, config),
            compute=pool,
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=config.threads_per_actor - TASK_CPUS,
            num_gpus=1 if config.device == "cuda" else None,
        )
        .map_batches(Commit(job), batch_size=1, batch_format="pyarrow", **tasks)
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
    if isinstance(error, OutOfDiskError):
        return "no space left on the disk to which Ray spills; free some and run the same command"
    first, *_ = str(error).split("The above exception was the direct cause", 1)
    line = first.strip().splitlines()[-1]
    _, ours, explained = line.partition(f"{RunError.__name__}: ")
    return explained if ours else f"{line}; the same command resumes"


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
        unit, table, busy = from_row(batch)
        table = encode_unit(self._codec, table, self._columns, self._shape)
        return to_row(unit, table, busy | {"encode": time.perf_counter() - started})
