"""Planning an input, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resyn.data.plan import PlanSettings, read_rows, read_units, write_plan
from resyn.data.quarantine import PLAN, Refusal, read_refusals
from resyn.data.sources import detect_source
from resyn.storage import open_storage


def plan(given: Path, output: Path, source: str = "auto", **more: Any) -> list[Refusal]:
    root = open_storage(str(given))
    settings = PlanSettings(detect_source(root, source), 30.0, 1.0, **more)
    write_plan(root, open_storage(str(output)), settings)
    return read_refusals(open_storage(str(output)), PLAN)


def uris(output: Path) -> list[str]:
    storage = open_storage(str(output))
    return [
        uri for u in read_units(storage) for uri in read_rows(storage, u)["source_uri"].to_pylist()
    ]


def told(refusals: list[Refusal]) -> list[tuple[str, str]]:
    return [(refusal.source_uri, refusal.code) for refusal in refusals]
