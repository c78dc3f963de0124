"""What the first worker tells of a run: lines to whoever watches, records to MLflow."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from resyn.config.base import flatten
from resyn.config.train import TrainConfig
from resyn.data.shards import ShardReader
from resyn.runtime.system_metrics import SystemMonitor
from resyn.runtime.tracking import Status, Tracker, source_tags, tracking_uri
from resyn.runtime.tracking_store import OFF
from resyn.storage import open_storage
from resyn.training.loop import TrainingRun
from resyn.training.observer import Observer, Progress
from resyn.training.speed import in_words

Say = Callable[[str], None]

#: In the output: what names the MLflow run from before it is opened.
RUN_FILE = "run.json"
#: Folder in the output for what MLflow could not be told yet.
PENDING = "tracking"


class RunRecorder(Observer):
    """The first rank's; what concerns all ranks it passes on to `group`."""

    def __init__(
        self, config: TrainConfig, training: TrainingRun, say: Say, group: Observer, begun: float
    ) -> None:
        self.group = group
        self._begun: float | None = begun
        self.name, self.training, self.say = config.typed_method.name, training, say
        self.tracker = open_tracker(config, training.data.reader, training.run_id, say)
        training.run_id = self.tracker.run_id or training.run_id
        self.tracker.metrics(config.typed_method.report(), 0)
        wanted = config.tracking.system_metrics and self.tracker.uri != OFF
        self.monitor = (
            SystemMonitor(self.tracker.metrics, lambda: training.step) if wanted else None
        )

    def progress(self, progress: Progress) -> None:
        """Losses and speed since the last time."""
        if self._begun is not None:
            once = {"seconds_to_first_step": self.training.first_step_at - self._begun}
            progress = replace(progress, rates={**progress.rates, **once})
            self._begun = None
        self.tracker.metrics({**progress.metrics, **progress.rates}, progress.step)
        self.say(progress_line(self.name, progress))

    def validation(self, step: int, figures: Mapping[str, float]) -> None:
        """The figures of a validation."""
        self.tracker.metrics(figures, step)
        if figures:
            shown = "  ".join(f"{key} {value:.4g}" for key, value in figures.items())
            self.say(f"{self.name}  step {step}  {shown}")

    def before_save(self) -> None:
        """What a resumed run will not do again must outlive this one."""
        self.tracker.persist()
        self.training.run_id = self.tracker.run_id or self.training.run_id

    def checkpoint(self, step: int, metrics: Mapping[str, float]) -> None:
        """See `Observer`."""
        self.group.checkpoint(step, metrics)

    def ends_soon(self) -> bool:
        """See `Observer`."""
        return self.group.ends_soon()

    def close(self, status: Status = "FINISHED") -> str | None:
        """End the record; returns the MLflow run's id."""
        if self.monitor is not None:
            self.monitor.stop()
        self.tracker.finish(status)
        return self.tracker.run_id or self.training.run_id


def open_tracker(
    config: TrainConfig, reader: ShardReader, run_id: str | None, say: Say, closed: bool = False
) -> Tracker:
    """Open the MLflow run of `config`'s output, or go on with it; see `Tracker.start`."""
    settings, spec = config.tracking, reader.spec
    output = open_storage(config.output)
    pending = output.at(PENDING)
    tracker = Tracker(tracking_uri(settings.uri), settings.experiment, pending, say)
    if tracker.uri == OFF:
        return tracker
    tags = {
        **source_tags(),
        "resyn.method": config.typed_method.name,
        "resyn.shard_fingerprint": reader.fingerprint,
        "resyn.codec": spec.name,
        "resyn.codec_sha256": spec.weights_sha256,
    }
    tracker.start(
        params=flatten(config.model_dump(mode="json", exclude={"tracking"})),
        tags=tags,
        run_id=run_id,
        run_name=output.root.rsplit("/", 1)[-1],
        parent_run_id=settings.parent_run_id,
        key=_run_key(config, reader),
        closed=closed,
    )
    return tracker


def tell_pending(config: TrainConfig, reader: ShardReader, run_id: str | None, say: Say) -> None:
    """Tell MLflow what a finished run could not."""
    pending = open_storage(config.output).at(PENDING)
    if tracking_uri(config.tracking.uri) == OFF or not pending.names(suffix=".jsonl"):
        return
    open_tracker(config, reader, run_id, say, closed=True).finish()
    if not pending.names(suffix=".jsonl"):
        say(f"MLflow has been told what was pending of {config.output}")


def _run_key(config: TrainConfig, reader: ShardReader) -> str:
    """The key of this output's MLflow run, kept in `run.json` while recipe and data are the same.

    It is there before the run is, so that a process killed at any moment is taken up in its run.
    """
    output = open_storage(config.output)
    mark: dict[str, Any] = {"recipe": config.recipe(), "shards": reader.fingerprint}
    try:
        known = output.read_json(RUN_FILE)
        if {name: known[name] for name in mark} == mark:
            return str(known["key"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass
    key = uuid.uuid4().hex
    output.write_json(RUN_FILE, {**mark, "key": key})
    return key


def progress_line(name: str, progress: Progress) -> str:
    """`sb  step 120/400  loss 0.812  14.2 examples/s  0.00789 audio-h/s  ETA 0:31`."""
    figures = "  ".join(f"{key} {value:.4g}" for key, value in progress.metrics.items())
    minutes, seconds = divmod(round(progress.eta_seconds), 60)
    return (
        f"{name}  step {progress.step}/{progress.total_steps}  {figures}  "
        f"{in_words(progress.rates)}  ETA {minutes}:{seconds:02d}"
    )
