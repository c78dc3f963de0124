"""What a sweep is: a space around a training configuration, its trials, its outcome."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ray.tune.search.sample import Domain

from resyn.config.base import flatten
from resyn.config.train import TrainConfig
from resyn.config.tune import SweepSettings
from resyn.errors import UserError
from resyn.runtime.tracking import tracking_uri
from resyn.storage import Storage, open_storage
from resyn.training.plan import TrainPlan, plan_training

Space = Mapping[str, Domain]

#: Settings of training that do not bear on the outcome.
PLACES = {"shards", "output", "codec", "run", "tracking"}
#: Names in the sweep's folder; the record is written last.
TRIALS, BEST, RECORD = "trials.json", "best.yaml", "sweep.json"


@dataclass(frozen=True)
class Trial:
    """One point: what was `varied` and the `score`, or the `error` that left it without one."""

    varied: dict[str, Any]
    score: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    output: str | None = None
    run_id: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Sweep:
    """A checked sweep with absolute places. `metric` is the figure to make small."""

    settings: SweepSettings
    train: TrainConfig
    space: Space
    metric: str
    plan: TrainPlan

    @property
    def folder(self) -> Storage:
        """Where trials and outcome go."""
        return open_storage(self.train.output)

    @property
    def record(self) -> dict[str, Any]:
        """`identity`, `run_id` and `complete` of what is in the folder; empty when new."""
        return self.folder.read_json(RECORD) if self.folder.exists(RECORD) else {}

    @property
    def identity(self) -> dict[str, Any]:
        """What the outcome depends on, flat: data, training, space and drawing; no places."""
        return {
            **flatten(self.train.model_dump(mode="json", exclude=PLACES)),
            **{f"space.{key}": domain for key, domain in self.describe_space().items()},
            "sweep.metric": self.metric,
            "sweep.num_samples": self.settings.num_samples,
            "sweep.seed": self.settings.seed,
            "shards": self.plan.reader.fingerprint,
        }

    @property
    def start(self) -> dict[str, Any]:
        """The point of the configuration as it stands, which is the first trial."""
        settings = flatten(self.train.model_dump(mode="json"))
        return {key: settings[key] for key in self.space}

    def describe_space(self) -> dict[str, str]:
        """The space in words: `optim.lr: LogUniform (0.0001, 0.003)`."""
        return {
            key: f"{type(domain.get_sampler()).__name__.strip('_')} {domain.domain_str}"
            for key, domain in self.space.items()
        }

    def describe(self) -> str:
        """The plan in a few lines for `--dry-run`."""
        space = "\n".join(f"vary        {key}: {d}" for key, d in self.describe_space().items())
        done = "complete" if self.record.get("complete") else "not complete"
        return (
            f"{self.plan.describe()}\n{space}\n"
            f"trials      {self.settings.num_samples}, the smallest {self.metric} wins\n"
            f"sweep       {self.train.output}: {done}"
        )

    def table(self, trials: Sequence[Trial]) -> str:
        """The trials as lines, in their order."""
        rows = [[*self.space, self.metric]]
        for trial in trials:
            shown = trial.error or short(trial.score)
            rows.append([*(short(trial.varied[key]) for key in self.space), shown])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = (zip(row, widths, strict=True) for row in rows)
        return "\n".join("  ".join(c.ljust(w) for c, w in line).rstrip() for line in lines)


def widen(space: Space, further: Space, also: Sequence[str]) -> Space:
    """`space` and those of `further` that `also` names: `method.mode`, or `mode` for short.

    Raises UserError for a name that is not there.
    """
    known = {name: key for key in further for name in (key, key.rsplit(".", 1)[-1])}
    for name in also:
        if name not in known:
            listed = ", ".join(key.rsplit(".", 1)[-1] for key in further) or "nothing"
            raise UserError(f"--also {name}: not among what may be varied further: {listed}")
    return {**space, **{known[name]: further[known[name]] for name in also}}


def plan_sweep(settings: SweepSettings, train: TrainConfig, space: Space, metric: str) -> Sweep:
    """Check everything that can be checked without training; `train.output` is the sweep's folder.

    Raises UserError as `plan_training` does, for a space that varies what training does not know,
    and for an output that holds another sweep.
    """
    for flag in ("shards", "output"):
        if not getattr(train, flag):
            raise UserError(f"--{flag}: give the URI of a folder")
    places = {name: open_storage(getattr(train, name)).uri for name in ("shards", "output")}
    train = train.override({**places, "tracking.uri": tracking_uri(train.tracking.uri)})
    train.override({key: domain.sample() for key, domain in space.items()})
    plan = plan_training(train.override({"output": f"{places['output']}/trials"}))
    sweep = Sweep(settings, train, space, settings.metric or metric, plan)
    if sweep.record:
        _compare(sweep.record["identity"], sweep.identity, train.output)
    return sweep


def trial_config(train: TrainConfig, varied: Mapping[str, Any], run_id: str | None) -> TrainConfig:
    """Training at one point, in a folder named by the point, so that a rerun resumes it.

    `run_id` is the MLflow run of the sweep.
    """
    name = hashlib.sha256(json.dumps(dict(varied), sort_keys=True).encode()).hexdigest()[:8]
    output = open_storage(train.output).at(f"trials/{name}").uri
    return train.override({**varied, "output": output, "tracking.parent_run_id": run_id})


def _compare(there: Mapping[str, Any], here: Mapping[str, Any], output: str) -> None:
    keys = sorted(key for key in there.keys() | here.keys() if there.get(key) != here.get(key))
    if keys:
        shown = "; ".join(f"{key} is {there.get(key)} there, {here.get(key)} here" for key in keys)
        raise UserError(f"--output {output}: holds another sweep ({shown}); name another folder")


def short(value: Any) -> str:
    """A setting or a score in a few characters."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
