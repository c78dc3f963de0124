"""An evaluation from end to end, on models that know the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resyn.codec.base import Codec
from resyn.config.evaluate import EvaluateConfig
from resyn.errors import UserError
from resyn.evaluation.evaluate import evaluate
from resyn.evaluation.page import write_report
from resyn.evaluation.results import Results, load_results
from resyn.evaluation.systems import EvaluatedModel
from resyn.evaluation.utterances import UtteranceSet
from resyn.storage import open_storage
from tests.evaluation.fakes import ToyCodec


class CountingMap:
    """The built-in map, counting; optionally killed after some items."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.done = 0
        self._stop_after = stop_after

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        for item in items:
            if self.done == self._stop_after:
                raise KeyboardInterrupt
            self.done += 1
            yield function(item)


def quality(results: Results, system: str) -> dict[str, list[float | None]]:
    return {
        name: results.column(system, name)
        for name, info in results.metrics.items()
        if not info.is_cost
    }


def test_an_oracle_scores_as_the_topline_it_reaches(evaluated: tuple[Path, Results]) -> None:
    _, results = evaluated
    assert quality(results, "onestep-nfe1") == quality(results, "z")
    assert quality(results, "c2f-nfe3") == quality(results, "x1-4")
    assert results.column("z", "latent_error") == [0.0] * 3
    assert results.column("c2f-nfe1", "estoi") == results.column("x1-2", "estoi")


def test_every_missing_value_has_its_reason(evaluated: tuple[Path, Results]) -> None:
    _, results = evaluated
    missing = {
        (system, metric): score.reason
        for utterance in results.utterances
        for system, scores in utterance.values.items()
        for metric, score in scores.items()
        if score.value is None
    }
    assert all(missing.values())
    assert {("reference", "latent_error"), ("reference", "rtf")} <= missing.keys()
    # The toy codec's z is lossless, so its SI-SNR is without bound.
    assert missing["z", "si_snr"] == missing["reference", "si_snr"]
    assert results.aggregates["reference"]["rtf"] is None


def test_notes_say_where_a_method_falls_below_the_baseline(
    evaluated: tuple[Path, Results],
) -> None:
    _, results = evaluated
    below = [note.text for note in results.notes if note.kind == "below"]
    assert any(text.startswith("Schrödinger Bridge, NFE 4: below x1 on SI-SNR (") for text in below)
    assert not any("One-step" in text for text in below)
    assert [note for note in results.notes if note.kind == "ordered"]


def test_results_survive_the_round_trip(evaluated: tuple[Path, Results], tmp_path: Path) -> None:
    _, results = evaluated
    storage = open_storage(str(tmp_path))
    write_report(storage, results)
    assert load_results(storage) == results
    assert b"NaN" not in storage.read_bytes("results.json")


def test_complete_results_are_reused_until_something_changes(
    config: EvaluateConfig, codec: Codec, models: list[EvaluatedModel], data: UtteranceSet
) -> None:
    storage = open_storage(config.output)
    first = evaluate(config, models, codec, data)
    write_report(storage, first)
    counting = CountingMap()
    assert evaluate(config, models, codec, data, counting) == first
    assert counting.done == 0

    other_seed = config.override({"seed": 1})
    second = evaluate(other_seed, models, codec, data, counting)
    # Only the stochastic method sounds different; everything else comes from the cache.
    assert counting.done == 3 * len(data.utterances)
    assert second.fingerprint != first.fingerprint
    assert quality(second, "x1") == quality(first, "x1")
    assert quality(second, "sb-nfe4") != quality(first, "sb-nfe4")

    storage.remove(first.samples[0].tiles[0].audio)
    write_report(storage, second)
    assert evaluate(other_seed, models, codec, data).samples == second.samples


def test_a_killed_evaluation_goes_on_where_it_was(
    config: EvaluateConfig, codec: Codec, models: list[EvaluatedModel], data: UtteranceSet
) -> None:
    whole = CountingMap()
    expected = evaluate(config, models, codec, data, whole)
    again = config.override({"output": f"{config.output}/again"})
    with pytest.raises(KeyboardInterrupt):
        evaluate(again, models, codec, data, CountingMap(stop_after=whole.done - 1))
    rest = CountingMap()
    resumed = evaluate(again, models, codec, data, rest)
    assert 0 < rest.done <= whole.done / len(data.utterances)
    for system in expected.systems:
        assert quality(resumed, system.key) == quality(expected, system.key)


def test_a_codec_alone_has_no_latent_error_and_says_why(
    config: EvaluateConfig, data: UtteranceSet
) -> None:
    results = evaluate(config, [], ToyCodec(random_weights=True), data)
    reasons = {utt.values["x1"]["latent_error"].reason for utt in results.utterances}
    assert reasons == {"no model, so no statistics of training latents"}
    assert results.notes[0].kind == "warning"
    assert "random weights" in results.notes[0].text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"metrics": "pesq,nonsense"}, "metrics.1: .*nonsense"),
        ({"nfe": "1,0"}, "nfe.1: .*greater than or equal to 1"),
        ({"run.thread": "2"}, "did you mean 'threads'"),
    ],
)
def test_wrong_settings_are_one_clear_error(values: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        EvaluateConfig().override(values)


def test_lists_fit_into_one_word() -> None:
    config = EvaluateConfig().override({"nfe": "1, 4,7", "metrics": "pesq,estoi"})
    assert (config.nfe, config.metrics) == ((1, 4, 7), ("pesq", "estoi"))
