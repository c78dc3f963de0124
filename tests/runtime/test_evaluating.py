"""The verb `evaluate` on a trained checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resyn.config.evaluate import EvaluateConfig
from resyn.errors import UserError
from resyn.evaluation.plan import make_plan
from resyn.runtime import evaluating


@pytest.fixture
def config(trained: Path, tiny_shards: Path, tmp_path: Path) -> EvaluateConfig:
    values = {
        "model": str(trained),
        "input": str(tiny_shards.parent / "audio"),
        "output": str(tmp_path / "out"),
        "nfe": "1,2",
        "metrics": "si_snr,latent_error,rtf",
        "max_utterances": 2,
        "run.workers": 0,
        "run.threads": 1,
    }
    return EvaluateConfig().override(values)


def test_a_checkpoint_becomes_a_page_and_is_not_evaluated_twice(
    config: EvaluateConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluating.run(config)
    printed = capsys.readouterr().out
    output = Path(config.output)
    assert (output / "table.md").read_text() in printed
    assert str(output / "index.html") in printed
    results = json.loads((output / "results.json").read_text())
    assert [s["key"] for s in results["systems"] if s["group"] == "method"] == [
        "sb-nfe1",
        "sb-nfe2",
    ]
    assert results["codec"]["random_weights"]
    assert "random weights" in (output / "index.html").read_text()
    # A page may be published with its data, so they name no folder of their maker.
    told = "".join((output / name).read_text() for name in ("index.html", "results.json"))
    for place in (config.output, config.input, *config.model):
        assert place not in told
    assert Path(config.model[0]).name in told

    evaluating.run(config)
    assert "is complete" in capsys.readouterr().out
    assert json.loads((output / "results.json").read_text()) == results


def test_a_plan_writes_nothing(config: EvaluateConfig, capsys: pytest.CaptureFixture[str]) -> None:
    evaluating.show_plan(config)
    assert "Schrödinger Bridge, NFE 2" in capsys.readouterr().out
    assert not Path(config.output).exists()


def test_sampling_settings_reach_the_models_and_make_another_evaluation(
    config: EvaluateConfig,
) -> None:
    plain, spread = config, config.override({"sampling": ["grid=sigma"]})
    made = [evaluating.load_inputs(one) for one in (plain, spread)]
    assert [one.models[0].resynthesizer.method.grid for one in made] == ["uniform", "sigma"]
    prints = [
        make_plan(one, inputs.models, inputs.codec.spec, inputs.data).fingerprint()
        for one, inputs in zip((plain, spread), made, strict=True)
    ]
    assert prints[0] != prints[1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"input": ""}, "--input is missing"),
        ({"output": ""}, "--output is missing"),
        ({"model": []}, "--model is missing"),
        ({"input": "nowhere"}, "no such folder"),
        ({"model": ["nowhere"]}, "nowhere: no checkpoint"),
        ({"sampling": ["top_k=3"]}, "sampling top_k: no model has .*sb: grid, guidance, start"),
        ({"sampling": ["guidance=2"]}, "condition_dropout"),
        ({"sampling": ["grid"]}, "--sampling grid: write it as name=value"),
    ],
)
def test_a_wrong_call_ends_before_any_work(
    config: EvaluateConfig, values: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        evaluating.run(config.override(values))
    assert not Path(config.output).exists()
