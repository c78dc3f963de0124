"""Loading ahead: in order, in parallel, never more than asked for."""

from __future__ import annotations

import threading

import pytest

from resyn.training.ahead import load_ahead


def test_results_come_in_order_whatever_the_threads() -> None:
    assert list(load_ahead(lambda n: n * n, range(100), 7, 3)) == [n * n for n in range(100)]
    assert list(load_ahead(lambda n: n, [], 4, 4)) == []


def test_loads_run_at_the_same_time() -> None:
    """Each waits for two others, which a single thread could never satisfy."""
    together = threading.Barrier(3, timeout=60)
    assert len(list(load_ahead(lambda n: together.wait(), range(9), 3, 3))) == 9


def test_no_more_than_the_depth_is_begun() -> None:
    begun: list[int] = []
    for taken, _ in enumerate(load_ahead(begun.append, range(50), 5, 5), start=1):
        assert len(begun) <= taken + 5


def test_an_error_is_raised_in_its_place() -> None:
    def load(number: int) -> int:
        if number == 3:
            raise OSError("gone")
        return number

    items = load_ahead(load, range(10), 6, 2)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="gone"):
        next(items)


def test_leaving_early_begins_nothing_more() -> None:
    begun: list[int] = []
    items = load_ahead(begun.append, range(1000), 2, 1)
    next(items)
    items.close()
    assert len(begun) <= 4
