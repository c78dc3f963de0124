"""Encoding on Ray Data: every work unit is one row from end to end.

decode -> encode (a pool of codec actors) -> commit. Nothing fans out, so a unit is
either committed or not, and Ray may retry any step of it. On CPUs an actor commits what it has
encoded before it begins another unit: whatever dies, one unit per actor is encoded in vain. A GPU
encodes a unit about as fast as it is written, so there tasks commit, while the actor goes on.
"""

from __future__ import annotations

import gc
import json
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.exceptions import OutOfDiskError, RayError

from resyn.codec import CodecSpec
from resyn.config.encode import EncodeConfig
from resyn.data.job import Job
from resyn.data.ledger import CommitRecord
from resyn.data.units import WorkUnit
from resyn.errors import RunError
from resyn.runtime.actor_codec import ActorCodec
from resyn.runtime.codec_actors import TASK_CPUS, UNITS_PER_CALL, CodecActors, offered, plan_actors
from resyn.runtime.encode_steps import Commit, Decode, from_row, to_row
from resyn.runtime.ray_cluster import ensure_ray
from resyn.runtime.units_in_flight import bound_units

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
    if actors.device == "cpu":
        return {"decode": _decoders(actors), "encode": actors.most, "commit": actors.most}
    tasks = max(1, int(ray.cluster_resources().get("CPU", 1) / TASK_CPUS))
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
    row: dict[str, Any] = {"batch_size": 1, "batch_format": "pyarrow"}
    tasks = row | {"compute": ray.data.TaskPoolStrategy(), "num_cpus": TASK_CPUS}
    commit = Commit(job, actors.arithmetic)
    apart = actors.device == "cuda"
    dataset = ray.data.from_items([asdict(unit) for unit in units], override_num_blocks=len(units))
    if apart:
        dataset = dataset.map_batches(Decode(job), **tasks)
    else:
        # Not as tasks: Ray ends a process that is beyond the number of CPUs and idle for a second,
        # and the next one would import everything anew.
        stay = ray.data.ActorPoolStrategy(min_size=1, max_size=_decoders(actors))
        decode = row | {"compute": stay, "num_cpus": TASK_CPUS}
        dataset = dataset.map_batches(_Decoder, fn_constructor_args=(job,), **decode)
    dataset = dataset.map_batches(
        _Encoder,
        fn_constructor_args=(job.recipe.codec, config, actors, None if apart else commit),
        compute=pool,
        num_cpus=actors.cpus,
        num_gpus=actors.gpus or None,
        **row,
    )
    if apart:
        dataset = dataset.map_batches(commit, **tasks)
    bound_units(dataset, actors.units)
    dataset.context.max_consecutive_actor_init_deaths = _LOST_STARTS
    return dataset


def _quieten_ray_data() -> None:
    """Its bars and notes; the notes still go to Ray's session log."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    for handler in logging.getLogger("ray.data").handlers:
        if handler.name == "console":
            handler.setLevel(logging.CRITICAL)


def _decoders(actors: CodecActors) -> int:
    """One decoder feeds many CPU actors, and every further process costs its start-up."""
    return -(-actors.most // 8)


def _cause(error: RayError) -> str:
    """One line for the exception that our code raised: Ray keeps of it the traceback's text."""
    if isinstance(error, OutOfDiskError):
        return "no space left on the disk to which Ray spills; free some and run the same command"
    if ours := re.findall(r"^resyn\.errors\.\w+Error: (.+)", str(error), re.MULTILINE):
        return ours[-1]
    first, *_ = str(error).split("The above exception was the direct cause", 1)
    return f"{first.strip().splitlines()[-1]}; the same command resumes"


class _Decoder:
    """A process that stays; Ray sets attributes on what it keeps, which `Decode` does not allow."""

    def __init__(self, job: Job) -> None:
        self._decode = Decode(job)

    def __call__(self, batch: pa.Table) -> pa.Table:
        return self._decode(batch)


class _Encoder:
    """A codec that stays loaded; one per actor. With `commit` it commits what it encodes."""

    def __init__(
        self, spec: CodecSpec, config: EncodeConfig, actors: CodecActors, commit: Commit | None
    ) -> None:
        self._codec = ActorCodec(spec, config, actors)
        self._commit = commit

    def __call__(self, batch: pa.Table) -> pa.Table:
        started = time.perf_counter()
        unit, table, notes = from_row(batch)
        table, warnings = self._codec.encode(table)
        notes["warnings"] += warnings
        row = to_row(unit, table, notes, encode=time.perf_counter() - started)
        return row if self._commit is None else self._commit(row)
