"""MLflow runs. Rank 0 alone holds a tracker, and whatever happens to it, training goes on."""

from __future__ import annotations

import logging
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_PARENT_RUN_ID

import resyn
from resyn.runtime.tracking_delivery import Delivery
from resyn.runtime.tracking_journal import Journal, Record
from resyn.runtime.tracking_run import Opening, TrackedRun
from resyn.runtime.tracking_store import OFF, prepare_store, tracking_uri
from resyn.storage import Storage

__all__ = ["Tracker", "prepare_store", "source_tags", "tracking_uri"]

log = logging.getLogger(__name__)

#: Seconds for a store to open a run, to take an artifact, and to take what is left at the end.
OPEN_SECONDS, ARTIFACT_SECONDS, FINISH_SECONDS = 30.0, 600.0, 30.0
#: Seconds for which a checkpoint waits for a store that is there.
PERSIST_SECONDS = 5.0

#: MLflow's client tries again for minutes before it says that a server is gone; here a thread
#: tries again for as long as the run lasts, and wants to know soon.
_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"

Status = Literal["FINISHED", "FAILED", "KILLED"]


class Tracker:
    """One MLflow run at the store `uri` (see `tracking_uri`); "off" makes every call a no-op.

    Calls return at once: a thread tells the store. While it cannot be reached, which is reported
    once, records are kept, with their true steps and times, and told when it is back: in memory,
    and in files in the folder `pending`, if there is one, from where the next tracker of the same
    run goes on. `warn` is told of trouble, in a line.
    """

    def __init__(
        self,
        uri: str,
        experiment: str = "resyn",
        pending: Storage | None = None,
        warn: Callable[[str], object] = log.warning,
    ) -> None:
        self.uri, self.experiment, self._warn = uri, experiment, warn
        self._journal = Journal(None if uri == OFF else pending)
        self._run: TrackedRun | None = None
        self._delivery: Delivery | None = None
        self._impatient = self._ended = False

    @property
    def run_id(self) -> str | None:
        """The run's id, once the store has opened it."""
        return None if self._run is None else self._run.run_id

    def start(
        self,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        *,
        run_id: str | None = None,
        run_name: str | None = None,
        parent_run_id: str | None = None,
        key: str | None = None,
        closed: bool = False,
    ) -> str | None:
        """Open a run, or go on with `run_id`, else with the run `key`, if the store has them.

        Returns the run's id, None while the store cannot be reached. `params` are flat; on a
        continued run only new ones are added, since MLflow forbids changes. `parent_run_id` files
        the run under a sweep. `key` names a run whose every step is told once: what the store has
        of a step is not told again by a process that repeats it. `closed` says that the run has
        ended and that only what is pending is to be told.
        """
        if self.uri == OFF:
            return None
        if self.uri.startswith("http") and _RETRIES not in os.environ:
            os.environ[_RETRIES], self._impatient = "2", True
        self._ended = closed and self._journal.holds("status")
        if not closed:
            self._journal.forget("status")
        parent = {MLFLOW_PARENT_RUN_ID: parent_run_id} if parent_run_id else {}
        opening = Opening(
            key or uuid.uuid4().hex, params, {**tags, **parent}, run_id, run_name, key is not None
        )
        self._run = TrackedRun(self.uri, self.experiment, opening, self._warn)
        self._delivery = Delivery(self._journal, self._run.write, self._warn)
        self._delivery.wait_open(OPEN_SECONDS)
        return self.run_id

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record `values` at `step`."""
        now = _now()
        self._send(*(Record("metric", k, float(v), step, now) for k, v in values.items()))

    def tags(self, values: Mapping[str, str]) -> None:
        """Set or replace tags of the run."""
        self._send(*(Record("tag", name, str(value)) for name, value in values.items()))

    def artifact(self, path: str | Path, folder: str | None = None) -> None:
        """Store a local file, or a folder with all in it, under `folder` of the run.

        Waits for it, unless the store cannot be reached; then the path must last until it can.
        """
        self._send(Record("artifact", str(path), folder or ""))
        self.flush(ARTIFACT_SECONDS)

    def flush(self, seconds: float = FINISH_SECONDS) -> bool:
        """Wait until the store has everything; False when the time is up or it is out of reach."""
        return self._delivery is None or self._delivery.flush(seconds)

    def persist(self) -> None:
        """See that everything recorded so far outlives this process."""
        if self._delivery is not None and not self._delivery.flush(PERSIST_SECONDS):
            self._journal.persist()

    def finish(self, status: Status = "FINISHED") -> None:
        """Close the run, unless its end is among what was pending; what cannot be told is kept."""
        delivery = self._delivery
        if delivery is None:
            return
        if not self._ended:
            self._send(Record("status", "", status, time=_now()))
        if not delivery.flush(FINISH_SECONDS, patient=True):
            self._journal.persist()
            place = self._journal.place
            kept = (
                f"the rest waits in {place} for the same command" if place else "the rest is lost"
            )
            self._warn(f"MLflow could not be told everything about this run; {kept}")
        delivery.stop()
        if self._impatient:
            os.environ.pop(_RETRIES, None)
        self._delivery = None

    def _send(self, *records: Record) -> None:
        if self._delivery is not None:
            self._delivery.send(records)


def _now() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


def source_tags() -> dict[str, str]:
    """Which code ran: the package's version and, in a checkout of resyn, its git revision."""
    tags = {"resyn.version": resyn.__version__}
    repository = Path(resyn.__file__).resolve().parents[1]
    if not (repository / ".git").exists():
        return tags
    command = ["git", "-C", str(repository), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        revision = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return tags
    return {**tags, MLFLOW_GIT_COMMIT: revision.stdout.strip()}
