"""The real training loop and a rival in turns: the loop stands still while the rival works."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from resyn.config.train import TrainConfig
from resyn.runtime.ray_train import prepare_run
from resyn.runtime.recording import RunRecorder
from resyn.runtime.tracking_store import prepare_store
from resyn.training.loop import TrainingRun
from resyn.training.observer import Observer, Progress
from tests.interleaved import seconds

#: What the loop's threads may need to load ahead before the rival's time is taken.
SETTLE_SECONDS = 0.5


def loop_config(config: TrainConfig, folder: Path, steps: int, turns: int) -> TrainConfig:
    """`config` with `turns` turns of `steps` steps, told to an MLflow store in `folder`.

    No checkpoint or validation falls into a turn, and little is loaded ahead between turns.
    """
    store = f"sqlite:///{folder}/mlflow.db"
    prepare_store(store)
    return config.override(
        {
            "steps": steps * turns,
            "run.log_every": steps,
            "run.checkpoint_every": steps * turns,
            "run.load_ahead": 1,
            "tracking.uri": store,
        }
    )


def recorder_of(config: TrainConfig, run: TrainingRun, group: Observer) -> RunRecorder:
    """What a run tells, as `train_rank` has it told; its lines go nowhere."""
    return RunRecorder(config, run, lambda line: None, group, time.perf_counter())


class Between(Observer):
    """Passes on what the loop tells; after each turn of the loop it is `rival`'s."""

    def __init__(self, inner: Observer, rival: Callable[[], object]) -> None:
        self.inner, self.rival = inner, rival
        self.ours: list[float] = []
        self.theirs: list[float] = []
        self._begun: float | None = None

    def progress(self, progress: Progress) -> None:
        """The end of a turn, told within it; the first one warms up."""
        self.inner.progress(progress)
        if self._begun is None:
            self.rival()
        else:
            self.ours.append(time.perf_counter() - self._begun)
        time.sleep(SETTLE_SECONDS)
        self.theirs.append(seconds(self.rival))
        self._begun = time.perf_counter()

    @property
    def ratios(self) -> list[float]:
        """The loop's time by the rival's of the turn before."""
        return [a / b for a, b in zip(self.ours, self.theirs, strict=False)]

    @property
    def control(self) -> list[float]:
        """The rival's time by its own of the turn before."""
        return [b / a for a, b in pairwise(self.theirs)]


def run_in_turns(
    config: TrainConfig, rival: Callable[[TrainingRun], Callable[[], object]]
) -> Between:
    """`TrainingRun.run` of `config`, of `loop_config`, in turns with what `rival` makes of it."""
    run = prepare_run(config)
    recorder = recorder_of(config, run, Observer())
    between = Between(recorder, rival(run))
    run.run(between)
    recorder.close()
    return between
