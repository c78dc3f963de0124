"""Sweeps on Ray Tune: every trial a training run, every run an MLflow child of the sweep's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import ray
import yaml
from ray import tune
from ray.tune.search.basic_variant import BasicVariantGenerator

from resyn.config.base import flatten
from resyn.config.train import TrainConfig
from resyn.errors import RunError
from resyn.runtime.ray_cluster import ensure_ray
from resyn.runtime.ray_train import fit
from resyn.runtime.sweep import BEST, RECORD, TRIALS, Sweep, Trial, short, trial_config
from resyn.runtime.tracking import Tracker, prepare_store, source_tags

Say = Callable[[str], None]

#: No banner, no tables, no CSV and TensorBoard files in a folder that is thrown away; and Ctrl-C
#: ends a sweep, where Tune would return trials without scores.
TUNE_SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}


def run_sweep(sweep: Sweep, say: Say = print) -> list[Trial]:
    """Train what is not trained yet, write `trials.json` and `best.yaml`; best trial first.

    Raises RunError when no trial comes to its end.
    """
    folder, record = sweep.folder, sweep.record
    if record.get("complete"):
        say(f"nothing to do: {folder.uri} holds this sweep")
        return [Trial(**tree) for tree in folder.read_json(TRIALS)]
    tracker = _start_tracker(sweep, record.get("run_id"))
    mark = {"identity": sweep.identity, "run_id": tracker.run_id}
    try:
        folder.write_json(RECORD, {**mark, "complete": False})
        trials = sorted(_run_trials(sweep, tracker.run_id, say), key=_order)
        best = trials[0]
        if best.score is None:
            raise RunError(f"{folder.uri}: no trial came to its end; the first says: {best.error}")
        folder.write_json(TRIALS, [asdict(trial) for trial in trials])
        folder.write_bytes(BEST, best_settings(sweep, best).encode())
        folder.write_json(RECORD, {**mark, "complete": not any(trial.error for trial in trials)})
    except BaseException as error:
        tracker.finish("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    tracker.metrics({f"best_{sweep.metric}": best.score}, len(trials))
    tracker.finish()
    return trials


def best_settings(sweep: Sweep, best: Trial) -> str:
    """YAML for `train.py --config`: the recipe at the best point, with an output of its own.

    How a trial was run (`run`) and recorded (`tracking`) is left out: it was for a small run.
    """
    config = sweep.train.override({**best.varied, "output": sweep.folder.at("best").uri})
    tree = config.model_dump(mode="json", exclude={"run", "tracking"})
    return yaml.safe_dump(tree, sort_keys=False)


def _start_tracker(sweep: Sweep, run_id: str | None) -> Tracker:
    """The sweep's own run, under which the trials file theirs."""
    settings = sweep.train.tracking
    assert settings.uri is not None
    prepare_store(settings.uri)
    tracker = Tracker(settings.uri, settings.experiment)
    params = {
        **flatten(sweep.train.model_dump(mode="json")),
        **sweep.settings.model_dump(),
        **sweep.describe_space(),
    }
    tags = {**source_tags(), "resyn.shard_fingerprint": sweep.plan.reader.fingerprint}
    name = f"sweep {sweep.folder.root.rsplit('/', 1)[-1]}"
    tracker.start(params, tags, run_id=run_id, run_name=name)
    return tracker


def _run_trials(sweep: Sweep, run_id: str | None, say: Say) -> list[Trial]:
    os.environ.update(TUNE_SETTINGS)
    ensure_ray()
    settings = sweep.settings
    trainable = partial(
        _train_trial,
        tree=sweep.train.model_dump(mode="json"),
        metric=sweep.metric,
        run_id=run_id,
    )
    drawing = BasicVariantGenerator(
        points_to_evaluate=[sweep.start],
        max_concurrent=settings.max_concurrent or 0,
        random_state=settings.seed,
    )
    with tempfile.TemporaryDirectory(prefix="resyn-tune-", ignore_cleanup_errors=True) as folder:
        tuner = tune.Tuner(
            tune.with_resources(trainable, dict[str, float](_resources(sweep.train))),
            param_space=dict(sweep.space),
            # A trial sets every seed itself, and a fresh worker would import torch again.
            tune_config=tune.TuneConfig(
                num_samples=settings.num_samples, search_alg=drawing, reuse_actors=True
            ),
            # Tune keeps a record of its own; what matters lies in the trials' checkpoints.
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=folder,
                verbose=0,
                callbacks=[_Progress(settings.num_samples, say)],
            ),
        )
        return [_trial(result) for result in tuner.fit()]


def _train_trial(
    varied: dict[str, Any], tree: dict[str, Any], metric: str, run_id: str | None
) -> None:
    """The body of one Tune worker."""
    config = trial_config(TrainConfig.parse(tree), varied, run_id)
    result = fit(config, say=lambda line: None)
    known = result.metrics.get(metric)
    score = result.metrics.get(metric.removeprefix("validation_")) if known is None else known
    if score is None:
        raise RunError(f"--metric {metric}: a trial reports {', '.join(sorted(result.metrics))}")
    tune.report(
        {
            "score": score,
            "measured": result.metrics,
            "output": config.output,
            "run_id": result.run_id,
        }
    )


def _resources(train: TrainConfig) -> dict[str, int]:
    """A trial that trains in its own process needs what a worker needs, else next to nothing."""
    run = train.run
    if run.num_workers == 0:
        return {"CPU": run.threads_per_worker} | ({"GPU": 1} if run.use_gpu else {})
    pinned = "train_driver" in ray.cluster_resources()  # Off the spot machines, if the cluster can.
    return {"CPU": 0} | ({"train_driver": 1} if pinned else {})


def _trial(result: tune.Result) -> Trial:
    varied, metrics = dict(result.config or {}), result.metrics or {}
    if result.error is not None:
        cause = str(result.error).strip().splitlines() or [type(result.error).__name__]
        return Trial(varied, error=cause[-1])
    return Trial(
        varied, metrics["score"], metrics["measured"], metrics["output"], metrics["run_id"]
    )


def _order(trial: Trial) -> tuple[bool, float]:
    """Failed trials last; NaN counts as failed."""
    score = trial.score
    return (True, 0.0) if score is None or score != score else (False, score)


class _Progress(tune.Callback):
    """One line a trial, instead of Tune's tables."""

    def __init__(self, total: int, say: Say) -> None:
        self.total, self.say, self.ended = total, say, 0

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._line(trial, f"score {trial.last_result['score']:.4g}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._line(trial, "failed")

    def _line(self, trial: Any, outcome: str) -> None:
        self.ended += 1
        point = "  ".join(f"{key} {short(value)}" for key, value in trial.config.items())
        self.say(f"trial {self.ended}/{self.total}  {point}  {outcome}")
