"""Promotion: an alias moves when a metric says so, and never because a store was out of reach."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from resyn.config.register import RegisterConfig
from resyn.errors import RunError, UserError
from resyn.runtime.promotion import higher_is_better, promote
from resyn.runtime.registry import set_alias
from resyn.runtime.tracking_store import open_client


def test_promotion_is_idempotent_and_compares(
    trained: Path, store_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config = RegisterConfig(
        name="resyn-sb", model=str(trained), alias="champion", tracking_uri=store_uri
    )
    first = promote(config)
    assert promote(config) == first
    better = _copy_with_metric(trained, tmp_path / "better", estoi=0.7, loss=0.1)
    worse = _copy_with_metric(trained, tmp_path / "worse", estoi=0.5, loss=0.2)
    champion = config.model_copy(update={"if_better": "estoi"})
    second = promote(champion.model_copy(update={"model": str(better)}))
    third = promote(champion.model_copy(update={"model": str(worse)}))
    client = open_client(store_uri)
    holder = client.get_model_version_by_alias("resyn-sb", "champion")
    assert (first.version, second.version, third.version) == ("1", "2", "3")
    assert str(holder.version) == second.version
    assert "keeps champion" in capsys.readouterr().out
    set_alias("resyn-sb", "champion", "3", store_uri)
    assert str(client.get_model_version_by_alias("resyn-sb", "champion").version) == "3"


def test_promotion_by_an_unknown_metric_names_the_known(trained: Path, store_uri: str):
    config = RegisterConfig(
        name="resyn-sb",
        model=str(trained),
        alias="champion",
        if_better="beauty",
        tracking_uri=store_uri,
    )
    with pytest.raises(UserError, match=r"beauty.*loss"):
        promote(config)


def test_an_outage_moves_no_alias(
    trained: Path, store_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = RegisterConfig(
        name="resyn-sb", model=str(trained), alias="champion", tracking_uri=store_uri
    )
    first = promote(config)
    better = str(_copy_with_metric(trained, tmp_path / "better", loss=0.0))
    challenge = config.model_copy(update={"model": better, "if_better": "loss"})

    def unreachable(*_: object) -> None:
        raise MlflowException("503: no answer")

    with monkeypatch.context() as outage:
        for ask in ("get_registered_model", "get_model_version_by_alias"):
            outage.setattr(MlflowClient, ask, unreachable)
        with pytest.raises(RunError, match=r"resyn-sb@champion.*503") as caught:
            promote(challenge)
    assert "\n" not in str(caught.value)
    client = open_client(store_uri)
    holder = client.get_model_version_by_alias("resyn-sb", "champion")
    assert str(holder.version) == first.version
    second = promote(challenge)
    holder = client.get_model_version_by_alias("resyn-sb", "champion")
    assert str(holder.version) == second.version


def test_a_holder_without_the_metric_gives_way_and_it_is_said(
    trained: Path, store_uri: str, tmp_path: Path
):
    config = RegisterConfig(
        name="resyn-sb", model=str(trained), alias="champion", tracking_uri=store_uri
    )
    promote(config)
    scored = str(_copy_with_metric(trained, tmp_path / "scored", estoi=0.5))
    said: list[str] = []
    promote(config.model_copy(update={"model": scored, "if_better": "estoi"}), said.append)
    assert "version 1 gives up champion: it has no estoi to compare" in said
    assert said[-1] == "models:/resyn-sb@champion is version 2"


@pytest.mark.parametrize("values", [{}, {"run": "a", "model": "b"}, {"run": "a", "if_better": "x"}])
def test_a_wrong_call_is_refused(values: dict[str, str]):
    with pytest.raises(UserError):
        RegisterConfig.parse({"name": "resyn-sb", **values})


def test_directions_of_metrics():
    assert higher_is_better("estoi")
    assert not higher_is_better("validation_loss")
    assert not higher_is_better("log_mel")


def _copy_with_metric(run: Path, target: Path, **metrics: float) -> Path:
    """A run with other metrics, and weights that pass for others."""
    shutil.copytree(run, target)
    file = sorted((target / "checkpoints").iterdir())[-1] / "state.json"
    state = json.loads(file.read_text())
    state["metrics"] = metrics
    state["sha256"]["model.safetensors"] = target.name
    file.write_text(json.dumps(state))
    return target
