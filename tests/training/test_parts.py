"""Schedule and averaging."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resyn.config.train import OptimSettings
from resyn.training.ema import WeightAverage
from resyn.training.optim import learning_rate


def test_rate_rises_to_the_peak_and_falls_to_zero():
    settings = OptimSettings(lr=2.0, warmup_steps=10)
    rates = [learning_rate(step, settings, 50) for step in range(51)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == rates[10] == 2.0
    assert rates[30] == pytest.approx(1.0)
    assert rates[50] == 0.0
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_rate_survives_a_run_shorter_than_its_warm_up():
    settings = OptimSettings(lr=1.0, warmup_steps=100)
    assert learning_rate(4, settings, 5) == pytest.approx(1.0)


def test_average_is_the_closed_form_and_buffers_follow():
    net = nn.BatchNorm1d(2)
    average = WeightAverage(net, decay=0.5)
    expected = net.weight.detach().clone()
    for count in range(6):
        with torch.no_grad():
            net.weight.copy_(torch.tensor([count + 1.0, -count]))
            net.running_mean.fill_(count)
        average.update(net)
        decay = 0.0 if count == 0 else min(0.5, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * net.weight.detach()
    assert torch.allclose(average.weights()["weight"], expected)
    assert torch.equal(average.weights()["running_mean"], net.running_mean)
