"""Laws of scoring: parallel is serial, remembered is computed, and nothing is computed twice."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resyn.codec.base import Codec
from resyn.config.evaluate import EvaluateConfig
from resyn.evaluation.compare import Comparison
from resyn.evaluation.evaluate import evaluate
from resyn.evaluation.metrics import AUDIO_METRICS, METRIC_NAMES, base
from resyn.evaluation.page import render_page
from resyn.evaluation.results import Results
from resyn.evaluation.tables import markdown_table
from resyn.evaluation.utterances import UtteranceSet
from resyn.runtime.ray_map import RayActorMap, places
from tests.evaluation.tiny_models import write_ecapa

METRICS = "estoi,wer,sim,log_mel"


class WatchingMap:
    """The built-in map; keeps the names of the metrics that it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        for item in items:
            assert isinstance(item, Comparison)
            self.asked += [metric.name for metric in item.metrics]
            yield function(item)


@pytest.fixture(scope="module")
def settings(whisper_folder: Path, ecapa_folder: Path) -> dict[str, str]:
    return {"whisper": str(whisper_folder), "ecapa": str(ecapa_folder), "metrics": METRICS}


@pytest.fixture(scope="module")
def fresh(
    settings: dict[str, str],
    codec: Codec,
    data: UtteranceSet,
    speech_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[EvaluateConfig, Results]:
    """A codec on its own, evaluated once; its settings and its results."""
    folder = tmp_path_factory.mktemp("fresh")
    places = {"output": str(folder), "input": str(speech_folder), "codec_weights": "/at/codec.pt"}
    config = EvaluateConfig().override({**settings, **places})
    return config, evaluate(config, [], codec, data)


@pytest.fixture(scope="module")
def staying(ray_cluster: None) -> RayActorMap:
    """Two processes that stay."""
    return RayActorMap(2, count=2)


@pytest.fixture
def again(fresh: tuple[EvaluateConfig, Results], tmp_path: Path) -> EvaluateConfig:
    """The same evaluation in a folder that holds its cache and nothing else."""
    config, _ = fresh
    shutil.copytree(Path(config.output) / "cache", tmp_path / "cache")
    return config.override({"output": str(tmp_path)})


def values(results: Results) -> dict[tuple[str, str], list[float | None]]:
    return {
        (system.key, name): results.column(system.key, name)
        for system in results.systems
        for name in results.aggregates[system.key]
    }


def test_every_metric_has_a_name_in_the_settings() -> None:
    everything = ",".join(METRIC_NAMES)
    assert EvaluateConfig().override({"metrics": everything}).metrics == METRIC_NAMES
    assert set(EvaluateConfig().metrics) < set(METRIC_NAMES)


def test_the_tables_error_rate_is_that_of_the_corpus(
    fresh: tuple[EvaluateConfig, Results],
) -> None:
    _, results = fresh
    scores = results.scores("x1", "wer")
    words = [score.words or 0 for score in scores]
    errors = [(score.value or 0) * count / 100 for score, count in zip(scores, words, strict=True)]
    assert words == [5] * 3  # SENTENCE 0 OF VOICE 1, as the normaliser leaves it
    assert errors == [pytest.approx(round(count)) for count in errors]
    summary = results.aggregates["x1"]["wer"]
    assert summary is not None
    assert summary.mean == pytest.approx(100 * sum(errors) / sum(words))
    assert "WER: all errors over all words, interval by bootstrap." in markdown_table(results)
    assert results.metrics["wer"].weights_sha256 in render_page(results)


def test_parallel_is_serial(
    fresh: tuple[EvaluateConfig, Results],
    staying: RayActorMap,
    codec: Codec,
    data: UtteranceSet,
    tmp_path: Path,
) -> None:
    config, serial = fresh
    config = config.override({"output": str(tmp_path), "metrics": "estoi,sim,log_mel"})
    parallel = evaluate(config, [], codec, data, staying)
    expected = values(serial)
    assert values(parallel) == {key: expected[key] for key in values(parallel)}
    assert all(serial.aggregates[s].items() >= of.items() for s, of in parallel.aggregates.items())


def test_remembered_is_computed_and_a_second_run_computes_nothing(
    fresh: tuple[EvaluateConfig, Results],
    again: EvaluateConfig,
    codec: Codec,
    data: UtteranceSet,
    capsys: pytest.CaptureFixture[str],
) -> None:
    watching = WatchingMap()
    results = evaluate(again, [], codec, data, watching)
    assert watching.asked == []
    assert values(results) == values(fresh[1])
    # Four metrics of four systems, and one of the two further codebook counts, on three clips.
    told = "metrics: nothing to compute, all 54 values are in the cache"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("damage", ['{"value": "0.5"}', '{"value": NaN}', "7", "cut"])
def test_what_is_damaged_in_the_cache_is_computed_again(
    fresh: tuple[EvaluateConfig, Results],
    again: EvaluateConfig,
    codec: Codec,
    data: UtteranceSet,
    damage: str,
) -> None:
    file = sorted((Path(again.output) / "cache").iterdir())[0]
    tree = json.loads(file.read_text())
    if damage == "cut":
        file.write_text(file.read_text()[:-20])
    else:
        tree[next(key for key in tree if " wer " in key)] = json.loads(damage)
        file.write_text(json.dumps(tree))
    watching = WatchingMap()
    results = evaluate(again, [], codec, data, watching)
    assert values(results) == values(fresh[1])
    # Four metrics of four systems, two of the further codebook counts.
    assert len(watching.asked) == (18 if damage == "cut" else 1)


def test_another_version_computes_its_own_column_only(
    again: EvaluateConfig, codec: Codec, data: UtteranceSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = base.package_version
    monkeypatch.setattr(base, "package_version", lambda p: "9.9" if p == "pystoi" else known(p))
    watching = WatchingMap()
    evaluate(again, [], codec, data, watching)
    assert set(watching.asked) == {"estoi"}


def test_other_weights_and_other_words_compute_their_own_column_only(
    again: EvaluateConfig, codec: Codec, data: UtteranceSet, tmp_path: Path
) -> None:
    other = again.override({"ecapa": str(write_ecapa(tmp_path / "ecapa", seed=1))})
    watching = WatchingMap()
    evaluate(other, [], codec, data, watching)
    assert set(watching.asked) == {"sim"}

    words = replace(data.utterances[0], text="the grey harbour")
    changed = UtteranceSet((words, *data.utterances[1:]), ())
    watching = WatchingMap()
    results = evaluate(other, [], codec, changed, watching)
    assert watching.asked == ["wer"] * 4
    assert results.scores("x1", "wer")[0].words == 3


def test_missing_weights_are_a_columns_reason_until_they_are_there(
    again: EvaluateConfig, settings: dict[str, str], codec: Codec, data: UtteranceSet
) -> None:
    shutil.rmtree(Path(again.output) / "cache")
    without = again.override({"whisper": "nowhere", "metrics": "log_mel,wer"})
    results = evaluate(without, [], codec, data)
    reason = "--whisper names nowhere: no such folder, and no hub name"
    assert {score.reason for score in results.scores("z", "wer")} == {reason}
    assert results.aggregates["z"]["wer"] is None
    assert f"WER has no values: {reason}." in markdown_table(results)
    assert any(reason in note.text for note in results.notes if note.kind == "missing")
    assert reason in render_page(results)

    found = without.override({"whisper": settings["whisper"]})
    watching = WatchingMap()
    results = evaluate(found, [], codec, data, watching)
    assert set(watching.asked) == {"wer"}
    assert None not in results.column("z", "wer")


def test_a_page_names_no_folder_of_its_maker(fresh: tuple[EvaluateConfig, Results]) -> None:
    config, results = fresh
    page = render_page(results) + results.model_dump_json()
    places = (config.whisper, config.ecapa, config.input, config.output, config.codec_weights)
    assert all(place and place not in page for place in places)


def test_processes_that_stay_make_a_model_once_each(staying: RayActorMap) -> None:
    def make(_: int) -> str:
        return vars(uuid).setdefault("made", f"{os.getpid()} {uuid.uuid4()}")

    answers = [answer for _ in range(3) for answer in staying(make, range(10))]
    assert len(answers) == 30
    assert len(set(answers)) == 2 == len({answer.split()[0] for answer in answers})
    assert answers[:10] == answers[10:20]


def test_as_many_processes_as_memory_holds() -> None:
    node = {"CPU": 8.0, "GPU": 2.0, "memory": 20e9}
    assert places(node, 0, 0) == 8
    assert places(node, 9_000_000_000, 0) == 2
    assert places(node, 9_000_000_000, 0.5) == 2
    assert places(node, 1_000_000_000, 0.5) == 4
    assert places({"CPU": 4.0}, 9_000_000_000, 0) == 0


def test_a_comparison_needs_memory_for_its_models_alone(settings: dict[str, str]) -> None:
    from resyn.evaluation.metrics import ready_metrics

    ready = ready_metrics(["wer", "log_mel"], {"wer": settings["whisper"]})
    weights = ready["wer"].weights
    assert weights is not None
    nothing: Any = None
    assert Comparison(nothing, nothing, (ready["log_mel"],)).memory == 0
    assert Comparison(nothing, nothing, tuple(ready.values())).memory > weights.num_bytes
    assert AUDIO_METRICS["wer"].weights is None
