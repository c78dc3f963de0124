"""Which rows there are, and in what order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resyn.codec.base import Codec
from resyn.errors import UserError
from resyn.evaluation.systems import EvaluatedModel, list_systems


def test_rows_follow_the_papers_first_table(codec: Codec, models: list[EvaluatedModel]) -> None:
    keys = [system.key for system in list_systems(models, codec.spec, [1, 3, 4])]
    assert keys == [
        "x1",
        *("c2f-nfe1", "c2f-nfe3"),
        "onestep-nfe1",
        *("sb-nfe1", "sb-nfe3", "sb-nfe4"),
        *("x1-4", "z", "reference"),
        *("x1-2", "x1-3"),
    ]


def test_methods_with_an_end_are_shown_there_too(
    codec: Codec, models: list[EvaluatedModel]
) -> None:
    systems = list_systems(models, codec.spec, [2, 16])
    counts = {m: [s.nfe for s in systems if s.method == m] for m in ("c2f", "onestep", "sb")}
    assert counts == {"c2f": [2, 3], "onestep": [1], "sb": [2, 16]}


def test_two_models_of_one_method_keep_apart(codec: Codec, models: list[EvaluatedModel]) -> None:
    twice = [replace(models[0], uri="/a/first"), replace(models[0], uri="/a/second")]
    systems = [s for s in list_systems(twice, codec.spec, [1]) if s.group == "method"]
    assert [system.key for system in systems] == ["sb-1-nfe1", "sb-2-nfe1"]
    assert [system.title for system in systems] == [
        "Schrödinger Bridge [first]",
        "Schrödinger Bridge [second]",
    ]


def test_a_codec_can_be_evaluated_alone(codec: Codec) -> None:
    groups = [system.group for system in list_systems([], codec.spec, [1])]
    assert groups == ["baseline", "topline", "topline", "topline", "codebooks", "codebooks"]


def test_models_of_unlike_inputs_are_refused(codec: Codec, models: list[EvaluatedModel]) -> None:
    wider = replace(
        models[0], uri="/runs/wide", resynthesizer=replace(models[0].resynthesizer, num_coarse=2)
    )
    with pytest.raises(
        UserError, match=r"coarse codes .*/runs/onestep: 1.*/runs/wide: 2|/runs/wide: 2"
    ):
        list_systems([models[1], wider], codec.spec, [1])
