"""MLflow runs. Rank 0 alone holds a tracker, and whatever happens to it, training goes on."""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_PARENT_RUN_ID
from mlflow.utils.validation import (
    MAX_PARAM_VAL_LENGTH,
    MAX_PARAMS_TAGS_PER_BATCH,
    MAX_TAG_VAL_LENGTH,
)

import resyn
from resyn.runtime.tracking_store import (
    OFF,
    experiment_id,
    open_client,
    prepare_store,
    tracking_uri,
)

__all__ = ["Tracker", "prepare_store", "source_tags", "tracking_uri"]

log = logging.getLogger(__name__)

#: Seconds for which an unreachable server is left in peace, so that it cannot slow the steps.
PAUSE_SECONDS = 60.0

Status = Literal["FINISHED", "FAILED", "KILLED"]
Result = TypeVar("Result")


@dataclass
class Tracker:
    """One MLflow run at the store `uri` (see `tracking_uri`); "off" makes every call a no-op.

    A store that fails is reported once, as a warning, and what it missed is lost.
    """

    uri: str
    experiment: str = "resyn"
    run_id: str | None = field(default=None, init=False)
    _client: MlflowClient | None = field(default=None, init=False)
    _warned: bool = field(default=False, init=False)
    _paused_until: float = field(default=0.0, init=False)

    def start(
        self,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        *,
        run_id: str | None = None,
        run_name: str | None = None,
        parent_run_id: str | None = None,
    ) -> str | None:
        """Open a run, or go on with `run_id` if the store has it. Returns the run's id.

        `params` are flat; on a continued run only new ones are added, since MLflow forbids
        changes. `parent_run_id` files the run under a sweep.
        """
        parent = {MLFLOW_PARENT_RUN_ID: parent_run_id} if parent_run_id else {}

        def begin(client: MlflowClient) -> str:
            known = _continue(client, run_id) if run_id else None
            if known is None:
                experiment = experiment_id(client, self.experiment)
                run = client.create_run(experiment, run_name=run_name)
                known, self.run_id = set(), run.info.run_id
            else:
                self.run_id = run_id
            assert self.run_id is not None
            _log_params(client, self.run_id, {k: v for k, v in params.items() if k not in known})
            client.log_batch(self.run_id, tags=_tags({**tags, **parent}))
            return self.run_id

        return self._attempt(begin)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record `values` at `step`."""
        now = int(time.time() * 1000)
        entries = [Metric(name, float(value), now, step) for name, value in values.items()]
        self._on_run(lambda client, run_id: client.log_batch(run_id, metrics=entries))

    def tags(self, values: Mapping[str, str]) -> None:
        """Set or replace tags of the run."""
        self._on_run(lambda client, run_id: client.log_batch(run_id, tags=_tags(values)))

    def artifact(self, path: str | Path, folder: str | None = None) -> None:
        """Store a local file, or a folder with all in it, under `folder` of the run."""
        path = Path(path)

        def store(client: MlflowClient, run_id: str) -> None:
            log_one = client.log_artifacts if path.is_dir() else client.log_artifact
            log_one(run_id, str(path), folder)

        self._on_run(store)

    def finish(self, status: Status = "FINISHED") -> None:
        """Close the run."""
        self._paused_until = 0.0
        self._on_run(lambda client, run_id: client.set_terminated(run_id, status))

    def _on_run(self, action: Callable[[MlflowClient, str], object]) -> None:
        run_id = self.run_id
        if run_id is not None:
            self._attempt(lambda client: action(client, run_id))

    def _attempt(self, action: Callable[[MlflowClient], Result]) -> Result | None:
        if self.uri == OFF or time.monotonic() < self._paused_until:
            return None
        try:
            self._client = self._client or open_client(self.uri)
            return action(self._client)
        except Exception as error:  # Whatever it is, a record is not worth a training run.
            if self.uri.startswith("http"):
                self._paused_until = time.monotonic() + PAUSE_SECONDS
            if not self._warned:
                cause = (str(error).splitlines() or [type(error).__name__])[0]
                log.warning("MLflow does not record (%s); the run goes on without", cause)
            self._warned = True
            return None


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


def _continue(client: MlflowClient, run_id: str) -> set[str] | None:
    """Reopen a run and return the names of its parameters; None when the store lacks it."""
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    client.update_run(run_id, status="RUNNING")
    return set(run.data.params)


def _log_params(client: MlflowClient, run_id: str, params: Mapping[str, Any]) -> None:
    entries = [Param(key, str(value)[:MAX_PARAM_VAL_LENGTH]) for key, value in params.items()]
    for start in range(0, len(entries), MAX_PARAMS_TAGS_PER_BATCH):
        client.log_batch(run_id, params=entries[start : start + MAX_PARAMS_TAGS_PER_BATCH])


def _tags(values: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(key, str(value)[:MAX_TAG_VAL_LENGTH]) for key, value in values.items()]
