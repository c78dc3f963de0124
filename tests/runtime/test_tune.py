"""A sweep ends in a config that train.py takes, files its trials as child runs, and resumes."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from ray import tune
from ray.tune import choice, loguniform
from ray.tune.search.sample import Domain

import tune_spaces
from resyn.config.base import flatten, load_yaml
from resyn.config.tune import SweepSettings
from resyn.errors import RunError, UserError
from resyn.methods import METHODS
from resyn.presets import preset
from resyn.runtime import ray_tune
from resyn.runtime.ray_tune import run_sweep
from resyn.runtime.sweep import Space, Sweep, Trial, plan_sweep, trial_config, widen
from resyn.training.settings import train_config
from tests.runtime.conftest import debug_config

SPACE: Space = {
    "optim.lr": loguniform(1e-4, 1e-2),
    "method.beta_max": choice([0.1, 0.3, 1.0]),
    "method.mode": choice(["i2sb", "true_peak"]),
}
TWO = SweepSettings(num_samples=2, max_concurrent=1)


def small_sweep(shards: Path, output: Path, store: str = "off", space: Space = SPACE) -> Sweep:
    train = debug_config(shards, output, steps=2, **{"tracking.uri": store})
    return plan_sweep(TWO, train, space, "validation_latent_error")


def test_every_method_has_a_space_of_settings_that_it_has():
    assert set(tune_spaces.NAMES) == set(METHODS)
    for method in METHODS:
        space, metric = tune_spaces.search_space(method)
        assert metric.startswith("validation_")
        assert all(isinstance(domain, Domain) for domain in space.values())
        further = tune_spaces.further_space(method)
        assert not further.keys() & space.keys()
        point = {key: domain.sample() for key, domain in {**space, **further}.items()}
        drawn = flatten(preset("debug", method).override(point).model_dump(mode="json"))
        assert {key: drawn[key] for key in point} == point
    assert {"optim.lr", "method.beta_max"} == set(tune_spaces.search_space("sb")[0])


def test_a_space_is_widened_by_name_and_by_nothing_else():
    space, further = tune_spaces.search_space("sb")[0], tune_spaces.further_space("sb")
    assert widen(space, further, ()) == space
    wide = widen(space, further, ("latent_scale", "method.start_share"))
    assert wide.keys() - space.keys() == {"method.latent_scale", "method.start_share"}
    with pytest.raises(UserError, match=r"--also beta: .* latent_scale, mode, start_share"):
        widen(space, further, ("beta",))


def test_a_sweep_from_plan_to_best_config(
    ray_cluster: None,
    tiny_shards: Path,
    store_uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    sweep = small_sweep(tiny_shards, tmp_path / "sweep", store_uri)
    lines: list[str] = []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    trials = run_sweep(sweep, lines.append)
    assert not list(tmp_path.glob("resyn-tune-*"))

    assert [trial.error for trial in trials] == [None, None]
    assert trials[0].score == min(t.score for t in trials if t.score is not None)
    assert sweep.start in [trial.varied for trial in trials]
    assert len(lines) == 2
    assert any(f"method.mode {trials[0].varied['method.mode']}" in line for line in lines)
    assert sweep.table(trials).splitlines()[0].split() == [*SPACE, sweep.metric]

    client = MlflowClient(tracking_uri=store_uri)
    children = [client.get_run(str(trial.run_id)) for trial in trials]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {sweep.record["run_id"]}
    assert {run.data.params["method.beta_max"] for run in children} == {
        str(trial.varied["method.beta_max"]) for trial in trials
    }

    written = load_yaml(str(tmp_path / "sweep" / "best.yaml"))
    assert not written.keys() & {"run", "tracking"}
    best = train_config("base_210m", flatten(written))
    assert {key: flatten(best.model_dump(mode="json"))[key] for key in SPACE} == trials[0].varied
    assert best.steps == 2
    assert best.tracking.parent_run_id is None

    monkeypatch.setattr(ray_tune, "_run_trials", pytest.fail)
    again: list[str] = []
    assert (
        run_sweep(small_sweep(tiny_shards, tmp_path / "sweep", store_uri), again.append) == trials
    )
    assert "nothing to do" in again[0]


def test_a_folder_holds_one_sweep(tiny_shards: Path, tmp_path: Path):
    sweep = small_sweep(tiny_shards, tmp_path)
    sweep.folder.write_json("sweep.json", {"identity": sweep.identity})
    assert small_sweep(tiny_shards, tmp_path).identity == sweep.identity
    with pytest.raises(UserError, match=r"optim.lr is LogUniform \(0.0001, 0.01\) there"):
        small_sweep(tiny_shards, tmp_path, space={**SPACE, "optim.lr": loguniform(1e-5, 1e-2)})


def test_a_point_has_a_folder_of_its_own(tiny_shards: Path, tmp_path: Path):
    train = small_sweep(tiny_shards, tmp_path).train
    first = trial_config(train, {"optim.lr": 1e-3}, "run")
    assert first == trial_config(train, {"optim.lr": 1e-3}, "run")
    assert first.output != trial_config(train, {"optim.lr": 2e-3}, "run").output
    assert first.tracking.parent_run_id == "run"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"shards": ""}, "--shards"),
        ({"output": ""}, "--output"),
        ({"shards": "/no/where"}, "where"),
    ],
)
def test_missing_places_are_named(
    tiny_shards: Path, tmp_path: Path, values: dict[str, str], named: str
):
    train = debug_config(tiny_shards, tmp_path).override(values)
    with pytest.raises(UserError, match=named):
        plan_sweep(TWO, train, SPACE, "loss")


def test_a_space_of_unknown_settings_is_refused(tiny_shards: Path, tmp_path: Path):
    with pytest.raises(UserError, match="beta_min"):
        small_sweep(tiny_shards, tmp_path, space={"method.beta_min": choice([1.0])})


def test_a_sweep_without_a_finished_trial_fails_and_stays_open(
    tiny_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sweep = small_sweep(tiny_shards, tmp_path)
    failed = [Trial(sweep.start, error="NaN loss"), Trial(sweep.start, score=math.nan)]
    monkeypatch.setattr(ray_tune, "_run_trials", lambda *_: failed)
    with pytest.raises(RunError, match="NaN loss"):
        run_sweep(sweep, print)
    assert not json.loads((tmp_path / "sweep.json").read_text())["complete"]
    assert not (tmp_path / "best.yaml").exists()


@pytest.mark.parametrize(
    ("end", "status"), [(KeyboardInterrupt(), "KILLED"), (RuntimeError("Tune is broken"), "FAILED")]
)
def test_a_sweep_that_is_cut_short_closes_its_run_and_leaves_no_scratch(
    ray_cluster: None,
    tiny_shards: Path,
    store_uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: BaseException,
    status: str,
):
    def fit(tuner: tune.Tuner) -> None:
        assert list(tmp_path.glob("resyn-tune-*"))
        raise end

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tune.Tuner, "fit", fit)
    sweep = small_sweep(tiny_shards, tmp_path / "sweep", store_uri)
    with pytest.raises(type(end)):
        run_sweep(sweep, print)
    client = MlflowClient(tracking_uri=store_uri)
    assert client.get_run(sweep.record["run_id"]).info.status == status
    assert not list(tmp_path.glob("resyn-tune-*"))
