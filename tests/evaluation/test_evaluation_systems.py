"""Which rows there are, and in what order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resyn.codec.base import Codec
from resyn.errors import UserError
from resyn.evaluation.systems import EvaluatedModel, list_systems, public_name
from tests.evaluation.fakes import Word


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


@pytest.mark.parametrize(
    ("chosen", "nfe", "message"),
    [
        ([0, 1, 2], [1, 2000], r"--nfe 2000: more evaluations than any .*/runs/sb: at most 1000"),
        ([0], [2000], "--nfe 2000: more evaluations"),
        ([1], [4], "--nfe 4: more evaluations than any model can use .*/runs/onestep: at most 1"),
        ([1, 2], [4, 5], "--nfe 4, 5: more evaluations"),
    ],
)
def test_counts_that_no_model_can_use_are_refused(
    codec: Codec, models: list[EvaluatedModel], chosen: list[int], nfe: list[int], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        list_systems([models[index] for index in chosen], codec.spec, nfe)


def test_a_model_is_never_left_without_rows(codec: Codec, models: list[EvaluatedModel]) -> None:
    short = replace(
        models[0], uri="/runs/short", resynthesizer=replace(models[0].resynthesizer, max_nfe=10)
    )
    with pytest.raises(UserError, match=r"--nfe 16, 32: no count that /runs/short can use"):
        list_systems([models[0], short], codec.spec, [16, 32])


def test_a_method_alone_takes_its_end_for_counts_beyond_it(
    codec: Codec, models: list[EvaluatedModel]
) -> None:
    systems = list_systems([models[1]], codec.spec, [1, 4, 7, 16])
    assert [system.nfe for system in systems if system.group == "method"] == [1]


def test_two_models_of_one_method_keep_apart(codec: Codec, models: list[EvaluatedModel]) -> None:
    twice = [replace(models[0], uri="/a/first"), replace(models[0], uri="/a/second")]
    systems = [s for s in list_systems(twice, codec.spec, [1]) if s.group == "method"]
    assert [system.key for system in systems] == ["sb-1-nfe1", "sb-2-nfe1"]
    assert [system.title for system in systems] == [
        "Schrödinger Bridge [first]",
        "Schrödinger Bridge [second]",
    ]


def test_a_row_says_where_an_evaluation_takes_more_than_one_pass(
    codec: Codec, models: list[EvaluatedModel]
) -> None:
    guided = replace(models[0].resynthesizer, method=Word("sb", "Schrödinger Bridge", passes=2))
    listed = [replace(models[0], resynthesizer=guided), models[1]]
    labels = [s.label for s in list_systems(listed, codec.spec, [1]) if s.group == "method"]
    assert labels == ["One-step regression, NFE 1", "Schrödinger Bridge (2 passes per NFE), NFE 1"]


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("/home/me/runs/sb/", "sb"),
        ("s3://bucket/runs/sb@best", "sb@best"),
        ("models:/resyn-sb@champion", "models:/resyn-sb@champion"),
        ("runs:/0a1b/model", "runs:/0a1b/model"),
    ],
)
def test_a_page_may_say_a_models_name_but_not_where_it_lies(uri: str, name: str) -> None:
    assert public_name(uri) == name


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
