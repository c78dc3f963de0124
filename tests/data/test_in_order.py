"""Many at a time, and nobody can tell."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from resyn.data.in_order import map_in_order
from resyn.data.plan import PlanSettings, write_plan
from resyn.data.quarantine import PLAN, read_refusals
from resyn.data.report import PlanProgress
from resyn.data.sources import detect_source
from resyn.storage import Storage, open_storage
from tests.data.shapes import SHAPES, make_clips, write
from tests.s3_proxy import S3

#: Shapes of folders; fairseq's tables name an absolute one.
REMOTE = sorted(SHAPES.keys() - {"fairseq"})


def test_results_come_in_order_and_few_items_are_taken_ahead() -> None:
    """Every call but the first ends before the first does."""
    taken, done, others = 0, 0, threading.Event()

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(100):
            taken += 1
            assert taken - done <= 8
            yield item

    def slow(item: int) -> int:
        if item == 0:
            assert others.wait(60)
        if item == 3:
            others.set()
        return -item

    for expected, result in enumerate(map_in_order(slow, items(), 4)):
        assert result == -expected
        done += 1
    assert done == 100


def test_a_failure_comes_in_its_turn_and_ends_all() -> None:
    begun: list[int] = []

    def fail(item: int) -> int:
        begun.append(item)
        if item == 5:
            raise KeyError(item)
        return item

    results = map_in_order(fail, iter(range(10_000)), 3)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(KeyError):
        next(results)
    assert len(begun) < 20


def manifest(output: Storage) -> list[dict[str, Any]]:
    rows = pq.read_table(output.path("manifest.parquet")).to_pylist()
    return [{**row, "source_etag": ""} for row in rows]


@pytest.mark.parametrize("shape", REMOTE)
def test_a_plan_made_by_many_is_the_plan_made_by_one(
    s3: S3, shape: str, make_tone: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    """A bucket is probed by many threads, a folder by one."""
    given = SHAPES[shape][0](tmp_path / "in", make_clips(make_tone))
    if next(given.rglob("*.flac"), None):
        write(given / "broken.flac", b"no audio")
    name = f"many-{shape.replace(' ', '-')}"
    s3.upload(tmp_path / "in", name)
    remote = f"s3://{name}/{given.relative_to(tmp_path / 'in')}".removesuffix("/.")
    plans = []
    for root, to in ((open_storage(str(given)), "here"), (open_storage(remote), "there")):
        output = open_storage(str(tmp_path / to))
        settings = PlanSettings(detect_source(root), 1.0, 0.01)
        summary = write_plan(root, output, settings)
        plans.append((summary, manifest(output), read_refusals(output, PLAN)))
    assert plans[0] == plans[1]
    assert plans[0][0].segments == 4


def test_planning_says_how_far_it_is(
    make_tone: Callable[..., np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = open_storage(str(SHAPES["folder"][0](tmp_path / "in", make_clips(make_tone))))
    output, settings = open_storage(str(tmp_path / "out")), PlanSettings("folder", 30.0, 0.001)
    write_plan(root, output, settings, PlanProgress(every_seconds=0.0))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"planning: {n} files" for n in (1, 2, 3)]
    write_plan(root, output, settings, PlanProgress())
    assert capsys.readouterr().out == ""
