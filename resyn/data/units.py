"""Work units: fixed runs of segments, each of which becomes one shard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from resyn.data.manifest import ManifestRow


@dataclass(frozen=True, slots=True)
class WorkUnit:
    """Rows `first_row` … `first_row + num_rows - 1` of the manifest, `seconds` of audio."""

    unit: int
    first_row: int
    num_rows: int
    seconds: float


def group_units(rows: Iterable[ManifestRow], seconds: float) -> Iterator[list[ManifestRow]]:
    """Consecutive rows until a group holds at least `seconds`; the last may hold less.

    A function of the rows alone: whoever plans the same manifest gets the same units.
    """
    group: list[ManifestRow] = []
    held = 0.0
    for row in rows:
        group.append(row)
        held += row.seconds
        if held >= seconds:
            yield group
            group, held = [], 0.0
    if group:
        yield group
