"""Steps that a resumed run takes once more are those it took before, to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from resyn.presets import preset
from resyn.runtime.ray_train import prepare_run
from resyn.training.checkpoint import CheckpointStore
from resyn.training.observer import Observer, Progress
from tests.runtime.test_training_state import Stop, equal, weights
from tests.tiny_shards import write_tiny_shards


class Losses(Observer):
    """Every loss by its step; the machine is lost when `stop_at` is told."""

    def __init__(self, stop_at: int = 0) -> None:
        self.stop_at, self.found = stop_at, {}

    def progress(self, progress: Progress) -> None:
        self.found[progress.step] = progress.metrics["loss"]
        if progress.step == self.stop_at:
            raise Stop


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("redone")
    return write_tiny_shards(folder, "demo_24khz", ("codes", "z", "audio"))


@pytest.mark.parametrize("method", ["sb", "codec"])
def test_a_resumed_run_repeats_and_continues_the_uninterrupted_one(
    shards: Path, tmp_path: Path, method: str
):
    """A codec's codebooks are learned in forward passes: they must come back as they were."""
    values = {"shards": str(shards), "steps": 6, "run.checkpoint_every": 3, "run.engine": "torch"}
    config = preset("debug", method).override(values)

    def losses(output: str, stop_at: int = 0) -> dict[int, float]:
        seen = Losses(stop_at)
        torch.manual_seed(config.seed)
        run = prepare_run(config.override({"output": str(tmp_path / output)}))
        if not stop_at:
            run.run(seen)
        else:
            with pytest.raises(Stop):
                run.run(seen)
        return seen.found

    whole = losses("whole")
    first, again = losses("cut", stop_at=5), losses("cut")
    assert list(first) == [1, 2, 3, 4, 5]
    assert list(again) == [4, 5, 6]
    assert first | again == again | first == whole
    assert equal(weights(tmp_path / "cut"), weights(tmp_path / "whole"))
    moments = [CheckpointStore(str(tmp_path / name)).latest() for name in ("cut", "whole")]
    assert all(checkpoint is not None and checkpoint.step == 6 for checkpoint in moments)
    assert equal(*(checkpoint.moments for checkpoint in moments if checkpoint is not None))
