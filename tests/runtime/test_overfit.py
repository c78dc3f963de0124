"""Learning is real: the demo presets learn a minute of synthetic speech by heart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from resyn.codec import load_codec
from resyn.corpus import write_librilight
from resyn.data.commit import commit_unit
from resyn.data.decode import decode_unit
from resyn.data.encode import BatchShape, encode_unit
from resyn.data.job import Recipe, open_job
from resyn.data.plan import PlanSettings, read_rows
from resyn.presets import preset
from resyn.runtime.ray_train import train_in_process
from resyn.storage import open_storage
from tests.runtime.train_faults import losses_of

pytestmark = pytest.mark.soak

#: Share of the first losses that the last may have; the bridge's target contains its noise.
BOUNDS = {"c2f": 0.2, "onestep": 0.2, "sb": 0.5}
#: Crops of two seconds; a minute has thirty.
BATCH = {"batch.batch_seconds": 8, "batch.micro_batch": 4}


@pytest.fixture(scope="module")
def minute(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of speech in the demo's codec."""
    folder, codec = tmp_path_factory.mktemp("minute"), load_codec("demo_24khz")
    columns = ("codes", "z")
    write_librilight(folder / "speech", minutes=1)
    recipe = Recipe(codec.spec, columns, PlanSettings("auto", 30.0, 60.0))
    source, output = open_storage(str(folder / "speech")), open_storage(str(folder / "shards"))
    for unit in open_job(source, output, recipe, codec).pending():
        decoded = decode_unit(source, read_rows(output, unit), codec.spec.sample_rate, False)
        encoded = encode_unit(codec, decoded, columns, BatchShape(1, 1.0))
        commit_unit(output, unit.unit, encoded, codec.spec, columns)
    return folder / "shards"


@pytest.mark.parametrize(("method", "steps"), [("c2f", 600), ("onestep", 600), ("sb", 600)])
def test_a_minute_is_learnt_by_heart(minute: Path, tmp_path: Path, method: str, steps: int) -> None:
    lines: list[str] = []
    config = preset("demo", method).override(
        BATCH
        | {
            "shards": str(minute),
            "output": str(tmp_path),
            "steps": steps,
            "run.engine": "torch",
            "run.num_workers": 0,
            "run.threads_per_worker": 1,
            "run.log_every": 1,
            "run.checkpoint_every": steps,
            "tracking.uri": "off",
        }
    )
    train_in_process(config, say=lines.append)
    losses = losses_of(lines)
    assert len(losses) == steps
    first, last = np.mean(losses[:3]), np.mean(losses[-20:])
    print(f"{method}: {first:.4g} -> {last:.4g} ({last / first:.1%}) in {steps} steps")
    assert last < BOUNDS[method] * first
