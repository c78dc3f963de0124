"""Draws of codes, and options that leave recipes alone while they are off."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from resyn.config.train import TrainConfig
from resyn.methods import parse_method
from resyn.methods.base import recipe_of
from resyn.randomness import SampleRandom
from resyn.types import Condition, LatentSpace

DRAWS, SIZE = 100_000, 8
LOGITS = torch.tensor([0.0, 2.0, -1.0, 1.5, 1.0, -3.0, 0.5, -0.5])


@pytest.mark.parametrize(
    ("temperature", "top_k"), [(1.0, 0), (0.5, 0), (1.0, 3), (2.0, 5), (1, 99)]
)
def test_codes_are_drawn_from_the_tempered_and_cut_softmax(temperature, top_k):
    method = parse_method({"name": "c2f", "temperature": temperature, "top_k": top_k})
    books = torch.stack([torch.zeros(SIZE, SIZE), torch.eye(SIZE)])
    space = LatentSpace(books, torch.zeros(SIZE), torch.ones(SIZE))
    cond = Condition(torch.zeros(1, 1, DRAWS, dtype=torch.int64), space)
    drawn = method.resynthesize(
        lambda x, stage, mask: LOGITS.expand(1, DRAWS, SIZE), cond, 1, SampleRandom([1])
    )
    frequencies = drawn[0].double().mean(0)
    kept = LOGITS.double() / temperature
    if 0 < top_k < SIZE:
        kept[kept.argsort()[:-top_k]] = -torch.inf
    expected = kept.softmax(0)
    assert ((frequencies > 0) == (expected > 0)).all()
    bound = 4 * (expected * (1 - expected) / DRAWS).sqrt()
    assert ((frequencies - expected).abs() <= bound).all()


#: Recipes as they were before there were options: runs begun then must resume.
WITHOUT_OPTIONS = [
    {"name": "c2f", "num_coarse": 1, "temperature": 0.0},
    {"name": "onestep", "num_coarse": 1},
    {
        "name": "sb",
        "num_coarse": 1,
        "mode": "i2sb",
        "beta_max": 0.3,
        "num_steps": 1000,
        "latent_scale": 1.0,
        "ode": False,
    },
]
ON = [
    ("c2f", {"top_k": 2, "temperature": 1.0}, {"temperature": 1.0}),
    ("c2f", {"masking": 0.5}, {}),
    ("c2f", {"masking": 0.5, "decoding_steps": 4}, {"masking": 0.5}),
    ("sb", {"grid": "sigma"}, {}),
    ("sb", {"start": "estimate"}, {}),
    ("sb", {"condition_dropout": 0.1}, {}),
]


@pytest.mark.parametrize("fields", WITHOUT_OPTIONS, ids=lambda fields: fields["name"])
def test_an_option_that_is_off_is_no_part_of_a_recipe(fields):
    assert recipe_of(parse_method(fields)) == fields
    assert recipe_of(parse_method({"name": fields["name"]})) == fields


@pytest.mark.parametrize(("name", "options", "without"), ON)
def test_an_option_that_is_on_makes_another_recipe(name, options, without):
    recipes = [TrainConfig(method={"name": name, **more}).recipe() for more in (options, without)]
    assert recipes[0] != recipes[1]


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "c2f", "top_k": -1},
        {"name": "c2f", "top_k": 3},
        {"name": "c2f", "temperature": -1},
        {"name": "c2f", "num_coarse": 0},
        {"name": "c2f", "decoding_steps": 4},
        {"name": "c2f", "decoding_steps": 0, "masking": 0.5},
        {"name": "c2f", "masking": 1.5},
        {"name": "onestep", "num_coarse": 0},
        {"name": "sb", "beta_max": 0},
        {"name": "sb", "num_steps": 7},
        {"name": "sb", "latent_scale": 0},
        {"name": "sb", "guidance": 2},
        {"name": "sb", "guidance": "nan", "condition_dropout": 0.1},
        {"name": "sb", "condition_dropout": 1},
        {"name": "sb", "start": "x0"},
    ],
    ids=str,
)
def test_settings_that_make_no_method_are_refused(fields):
    with pytest.raises(ValidationError):
        parse_method(fields)
