"""Counts encodes in Ray's workers: a line for every unit that is begun, whatever becomes of it.

And holds one at will, so that a worker can be killed within it.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

#: The file to which all workers append, and the unit whose first encode never ends.
FILE, HELD = "RESYN_TEST_ENCODES", "RESYN_TEST_HELD"


def runtime_env(file: Path, held: str = "", **variables: str) -> dict[str, Any]:
    """What makes the workers of a job count, and gives them `variables`."""
    root = Path(__file__).parents[2]
    return {
        "env_vars": {**variables, FILE: str(file), HELD: held, "PYTHONPATH": str(root)},
        "worker_process_setup_hook": f"{__name__}.install",
    }


def install() -> None:
    """Ray calls this in every worker before it imports the pipeline."""
    from resyn.data import encode

    plain = encode.encode_unit

    def counted(codec: Any, table: Any, *more: Any) -> Any:
        file, unit = Path(os.environ[FILE]), str(table["source_uri"][0])
        with file.open("a") as sink:
            sink.write(f"{unit}\n")
        while unit == os.environ[HELD] and begun(file)[unit] == 1:
            time.sleep(1)
        return plain(codec, table, *more)

    encode.encode_unit = counted


def begun(file: Path) -> Counter[str]:
    """How often each unit was begun, by its first source."""
    return Counter(file.read_text().split() if file.exists() else ())
