"""`map` on Ray."""

from __future__ import annotations

import math

import pytest

from resyn.errors import RunError
from resyn.runtime.ray_map import RayMap

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_values_come_in_order_and_as_needed() -> None:
    asked: list[int] = []

    def numbers() -> object:
        for number in range(40):
            asked.append(number)
            yield number

    values = iter(RayMap(2)(math.sqrt, numbers()))  # type: ignore[arg-type]
    assert next(values) == 0.0
    assert len(asked) < 40
    assert list(values) == [math.sqrt(number) for number in range(1, 40)]


def test_a_failing_task_is_a_failed_run() -> None:
    with pytest.raises(RunError, match=r"math domain error|nonnegative"):
        list(RayMap(2)(math.sqrt, [4.0, -1.0]))


def test_nothing_to_do_is_nothing() -> None:
    assert list(RayMap(2)(math.sqrt, [])) == []
