"""The bound on work units under way, seen from outside: by the clock of the units themselves."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import ray.data

from resyn.runtime.units_in_flight import bound_units

UNITS = 12


def slow_to_load(folder: Path, wait_for: int) -> type:
    """An actor that loads until the first steps have had time to run ahead of it.

    Made within a function, so that Ray ships it as it is: its workers cannot import this file.
    """

    begun = stamp(folder, "begun")

    class Slow:
        def __init__(self) -> None:
            while len(list(folder.glob("*.start"))) < wait_for:
                time.sleep(0.05)
            time.sleep(1.5)

        def __call__(self, batch: pa.Table) -> pa.Table:
            return begun(batch)

    return Slow


def stamp(folder: Path, what: str, after: float = 0.0) -> Callable[[pa.Table], pa.Table]:
    """A step that writes down when it ran; it takes `after` seconds."""

    def step(batch: pa.Table) -> pa.Table:
        unit = batch["id"][0].as_py()
        time.sleep(after)
        (folder / f"{unit}.{what}").write_text(repr(time.time()))
        return batch

    return step


def most_at_once(folder: Path, since: str = "start") -> int:
    """Units between their start, or a later step, and their end at any moment."""
    events = [(float(f.read_text()), 1) for f in folder.glob(f"*.{since}")]
    events += [(float(f.read_text()), -1) for f in folder.glob("*.end")]
    assert len(events) == 2 * UNITS
    under_way, most = 0, 0
    for _, change in sorted(events):
        under_way += change
        most = max(most, under_way)
    return most


def test_no_more_units_are_under_way_than_allowed(tmp_path: Path, ray_cluster: None) -> None:
    """Also while the actor loads, when Ray would start one after another. Of those that the actor
    has begun no more than two wait for their end, however slow that is."""
    per_actor = 4
    pool = ray.data.ActorPoolStrategy(size=1, max_tasks_in_flight_per_actor=2)
    one = {"batch_size": 1, "batch_format": "pyarrow"}
    tasks = {"compute": ray.data.TaskPoolStrategy(size=1), "num_cpus": 0.25}
    dataset = (
        ray.data.from_items([{"id": unit} for unit in range(UNITS)], override_num_blocks=UNITS)
        .map_batches(stamp(tmp_path, "start"), **one, **tasks)
        .map_batches(slow_to_load(tmp_path, per_actor), compute=pool, num_cpus=0.5, **one)
        .map_batches(stamp(tmp_path, "end", after=0.2), **one, **tasks)
    )
    bound_units(dataset, per_actor)
    assert sorted(row["id"] for row in dataset.iter_rows()) == list(range(UNITS))
    assert most_at_once(tmp_path) == per_actor
    assert most_at_once(tmp_path, "begun") == 2
