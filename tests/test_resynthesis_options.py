"""Options of the Resynthesizer: precision, and a walk that another model starts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from resyn.errors import UserError
from resyn.resynthesis import Resynthesizer
from tests.test_resynthesis import codes_of, oracle_model, trained_like


@pytest.mark.parametrize("settings", [{"name": "onestep"}, {"name": "sb"}], ids=str)
def test_bfloat16_is_a_small_and_steady_error_of_the_network_alone(settings):
    exact = trained_like(settings)
    lower = Resynthesizer(exact.method, exact.network, exact.space, exact.codec, precision="bf16")
    codes = torch.from_numpy(codes_of(40))[None]
    first, again = (lower.latents(codes, 1, [3]) for _ in range(2))
    whole = exact.latents(codes, 1, [3])
    error = (first - whole).norm() / whole.norm()
    # bfloat16 keeps 8 bits: one rounding is at most 2^-9 of a value, and there are a dozen.
    assert 1e-5 < error < 0.02
    assert first.dtype == torch.float32
    assert torch.equal(first, again)
    assert lower.decode(whole).samples.tolist() == exact.decode(whole).samples.tolist()


def test_an_unknown_precision_is_refused():
    model = trained_like({"name": "sb"})
    with pytest.raises(UserError, match="precision: must be 'fp32' or 'bf16', got 'fp16'"):
        Resynthesizer(model.method, model.network, model.space, model.codec, precision="fp16")


def test_a_walk_leaves_from_another_models_estimate():
    bridge, starter = trained_like({"name": "sb"}), trained_like({"name": "onestep"})
    started = Resynthesizer(
        bridge.method, bridge.network, bridge.space, bridge.codec, starter=starter
    )
    codes = torch.from_numpy(codes_of(20))[None]
    x1 = bridge.space.normalise(bridge.space.embed(codes[:, :1]))
    estimate = bridge.space.normalise(starter.latents(codes, 1, [0]))
    epsilon = bridge.network(estimate, torch.ones(1), x1)
    expected = estimate - bridge.method.schedule.std(999) * epsilon
    made = bridge.space.normalise(started.latents(codes, 1, [0]))
    assert torch.allclose(made, expected, atol=1e-5)
    assert not torch.allclose(started.latents(codes, 4, [0]), bridge.latents(codes, 4, [0]))
    assert (started.evaluations(4), bridge.evaluations(4)) == (5, 4)
    together = started.resynthesize_batch([codes_of(9), codes_of(30)], 2, seeds=[1, 2])
    assert np.allclose(
        together[0].samples, started.resynthesize(codes_of(9), 2, 1).samples, atol=1e-4
    )
    with pytest.raises(UserError, match="onestep of 1 has no walk that it could start"):
        Resynthesizer(
            starter.method, starter.network, starter.space, starter.codec, starter=starter
        )
    with pytest.raises(UserError, match="start model of 2 coarse levels"):
        Resynthesizer(
            bridge.method,
            bridge.network,
            bridge.space,
            bridge.codec,
            starter=trained_like({"name": "onestep", "num_coarse": 2}),
        )


@pytest.mark.parametrize("nfe", [1, 4])
def test_an_oracle_reaches_z_from_any_start(nfe):
    model, codes = oracle_model({"name": "sb"})
    model.starter = trained_like({"name": "onestep"})
    truth = model.space.denormalise(model.network.x0)
    assert torch.allclose(model.latents(torch.from_numpy(codes)[None], nfe, [3]), truth, atol=1e-5)
