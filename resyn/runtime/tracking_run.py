"""One MLflow run as the place that records are written to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.validation import (
    MAX_METRICS_PER_BATCH,
    MAX_PARAM_VAL_LENGTH,
    MAX_PARAMS_TAGS_PER_BATCH,
    MAX_TAG_VAL_LENGTH,
)

from resyn.runtime.tracking_journal import Record
from resyn.runtime.tracking_store import experiment_id, open_client
from resyn.storage_faults import first_line

T = TypeVar("T")

#: A tag that names the run from before it exists, so that it is never made twice.
KEY_TAG = "resyn.run_key"
#: Answers that another attempt would get again.
_REFUSALS = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "MALFORMED_REQUEST"}


@dataclass(frozen=True)
class Opening:
    """What a run begins with. `run_id` is gone on with if the store has it, else the run `key`.

    Where `once` is set, every metric is told once a step: what the run holds of a step already is
    not told again.
    """

    key: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    run_id: str | None = None
    run_name: str | None = None
    once: bool = False


@dataclass
class TrackedRun:
    """Opens the run at the store `uri` on first use, and again after every failure."""

    uri: str
    experiment: str
    opening: Opening
    warn: Callable[[str], object]
    run_id: str | None = None
    _client: MlflowClient | None = None
    _open: bool = False
    _told: dict[str, int] = field(default_factory=dict)
    _warned: bool = False

    def write(self, records: Sequence[Record]) -> None:
        """Tell the store. Raises whatever its client does while the store cannot be had.

        What the store refuses for good is dropped with one warning.
        """
        try:
            if self._client is None:
                self._client = open_client(self.uri)
            if not self._open:
                self._begin(self._client)
            self._write_metrics(self._client, [r for r in records if r.kind == "metric"])
            for record in records:
                if record.kind != "metric":
                    self._attempt(self._client, [record])
        except Exception:
            self._open = False
            raise

    def _begin(self, client: MlflowClient) -> None:
        opening = self.opening
        experiment = experiment_id(client, self.experiment)
        run = self._find(client, experiment)
        if run is None:
            tags = {KEY_TAG: opening.key}
            run = client.create_run(experiment, run_name=opening.run_name, tags=tags)
        elif run.info.status != "RUNNING":
            client.update_run(run.info.run_id, status="RUNNING")
        self.run_id = run.info.run_id
        known = run.data.params
        params = {name: value for name, value in opening.params.items() if name not in known}
        self._accept(lambda: _log_params(client, run.info.run_id, params))
        tags = _tags({**opening.tags, KEY_TAG: opening.key})
        self._accept(lambda: client.log_batch(run.info.run_id, tags=tags))
        if opening.once:
            self._told = {metric.key: metric.step for metric in run.data.to_proto().metrics}
        self._open = True

    def _find(self, client: MlflowClient, experiment: str) -> Run | None:
        """The run to go on with, unless the store has lost it or it was deleted."""
        for run_id in filter(None, (self.run_id, self.opening.run_id)):
            try:
                run = client.get_run(run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
            else:
                if run.info.lifecycle_stage == "active":
                    return run
        query = f"tags.`{KEY_TAG}` = '{self.opening.key}'"
        return next(iter(client.search_runs([experiment], query, max_results=1)), None)

    def _write_metrics(self, client: MlflowClient, records: Sequence[Record]) -> None:
        news = []
        for record in records:
            if not self.opening.once or record.step > self._told.get(record.name, -1):
                news.append(record)
                if self.opening.once:
                    self._told[record.name] = record.step
        for part in _chunks(news, MAX_METRICS_PER_BATCH):
            if not self._attempt(client, part):
                for record in part:
                    self._attempt(client, [record])

    def _attempt(self, client: MlflowClient, records: Sequence[Record]) -> bool:
        """True when the records are told; False when the store refuses them for good."""
        assert self.run_id is not None
        return self._accept(lambda: _tell(client, str(self.run_id), records))

    def _accept(self, action: Callable[[], object]) -> bool:
        try:
            action()
        except (MlflowException, FileNotFoundError) as error:
            refused = isinstance(error, FileNotFoundError) or error.error_code in _REFUSALS
            if not refused:
                raise
            if not self._warned:
                self.warn(f"MLflow refuses a record ({first_line(error)}); the run goes on")
            self._warned = True
            return False
        return True


def _tell(client: MlflowClient, run_id: str, records: Sequence[Record]) -> None:
    """Metrics together, anything else alone."""
    first = records[0]
    if first.kind == "metric":
        entries = [Metric(r.name, float(r.value), r.time, r.step) for r in records]
        client.log_batch(run_id, metrics=entries)
    elif first.kind == "tag":
        client.log_batch(run_id, tags=_tags({first.name: str(first.value)}))
    elif first.kind == "artifact":
        path = Path(first.name)
        log_one = client.log_artifacts if path.is_dir() else client.log_artifact
        log_one(run_id, str(path), str(first.value) or None)
    else:
        client.set_terminated(run_id, str(first.value), end_time=first.time)


def _log_params(client: MlflowClient, run_id: str, params: Mapping[str, Any]) -> None:
    entries = [Param(key, str(value)[:MAX_PARAM_VAL_LENGTH]) for key, value in params.items()]
    for part in _chunks(entries, MAX_PARAMS_TAGS_PER_BATCH):
        client.log_batch(run_id, params=part)


def _chunks(entries: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (entries[start : start + size] for start in range(0, len(entries), size))


def _tags(values: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(key, str(value)[:MAX_TAG_VAL_LENGTH]) for key, value in values.items()]
