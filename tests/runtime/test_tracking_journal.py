"""The queue between a run and a tracking store that may be away."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from resyn.runtime import tracking_journal
from resyn.runtime.system_metrics import SystemMonitor
from resyn.runtime.tracking_journal import Journal, Record
from resyn.storage import Storage, open_storage


def records(first: int, end: int) -> list[Record]:
    return [Record("metric", "loss", float(n), n, 1000 + n) for n in range(first, end)]


def drained(journal: Journal) -> list[int]:
    steps: list[int] = []
    while len(journal):
        batch = journal.oldest(7)
        steps += [record.step for record in batch.records]
        journal.done(batch)
    return steps


@pytest.fixture
def folder(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "tracking"))


def test_order_survives_files_memory_and_processes(folder: Storage):
    first = Journal(folder, memory=10)
    first.add(records(0, 25))
    first.persist()
    first.add(records(25, 30))  # Lost with the process.
    second = Journal(folder, memory=10)
    second.add(records(25, 32))
    assert drained(second) == list(range(32))
    assert folder.names() == []


def test_what_is_persisted_while_it_is_sent_is_given_out_again(folder: Storage):
    journal = Journal(folder)
    journal.add(records(0, 5))
    batch = journal.oldest(3)
    journal.persist()
    journal.add(records(5, 6))
    journal.done(batch)
    assert drained(journal) == list(range(6))


def test_memory_is_bounded_without_a_folder():
    journal = Journal(memory=10)
    journal.add(records(0, 25))
    assert journal.dropped == 15
    assert drained(journal) == list(range(15, 25))


def test_files_are_bounded(folder: Storage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tracking_journal, "MAX_FILES", 2)
    journal = Journal(folder)
    for first in range(0, 20, 5):
        journal.add(records(first, first + 5))
        journal.persist()
    assert drained(journal) == list(range(10, 20))


def test_a_disk_that_refuses_costs_records_and_no_run(
    folder: Storage, monkeypatch: pytest.MonkeyPatch
):
    def full(self: Storage, name: str, data: bytes) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Storage, "write_bytes", full)
    journal = Journal(folder, memory=10)
    journal.add(records(0, 12))
    journal.persist()
    assert drained(journal) == list(range(2, 12))


def test_a_status_of_an_earlier_life_is_forgotten(folder: Storage):
    journal = Journal(folder)
    journal.add([*records(0, 2), Record("status", "", "FAILED", time=9)])
    journal.persist()
    later = Journal(folder)
    assert later.holds("status")
    later.forget("status")
    assert not later.holds("status")
    assert drained(later) == [0, 1]


def test_foreign_files_are_passed_over(folder: Storage):
    folder.write_bytes("0.jsonl", b"not json\n")
    journal = Journal(folder)
    journal.add(records(0, 2))
    assert drained(journal) == [0, 1]


def test_the_machine_is_told_of_at_most_once_a_step():
    told: list[tuple[int, set[str]]] = []
    step = iter([5, *[5] * 3, *range(6, 9), *[8] * 1000])
    done = threading.Event()

    def tell(metrics: Mapping[str, float], at: int) -> None:
        told.append((at, set(metrics)))
        if at == 8:
            done.set()

    monitor = SystemMonitor(tell, lambda: next(step), interval=0.01)
    assert done.wait(30)
    monitor.stop()
    assert [at for at, _ in told] == [6, 7, 8]
    assert {"system/cpu_utilization_percentage", "system/disk_usage_percentage"} <= told[0][1]
