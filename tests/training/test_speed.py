"""What a run says of its speed: operations as torch counts them, bytes as autograd keeps them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from resyn.codec.base import CodecSpec
from resyn.methods import parse_method
from resyn.models.shape import TransformerShape
from resyn.randomness import SampleRandom
from resyn.training.flops import peak_bf16, step_flops, transformer_step_flops
from resyn.training.speed import ActivationMeter, StepCost, in_words
from tests.training.synthetic import latent_batch, method_and_network


@pytest.mark.parametrize("name", ["c2f", "onestep", "sb"])
def test_the_formula_is_what_torch_counts(name):
    items, frames = 3, 10
    method, network = method_and_network(name)
    # Attention in plain products: the fused kernel's recomputation is no work of the model's.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        loss = method.loss(network, latent_batch(items, frames), SampleRandom(range(items)))
        loss.per_item.mean().backward()
    counts = counter.get_flop_counts()["Global"]
    # torch counts the backward pass of a grouped convolution as if it had one group.
    convolution = counts[torch.ops.aten.convolution]
    counts[torch.ops.aten.convolution_backward] = 2 * convolution
    assert sum(counts.values()) == step_flops(network, items, frames)


def test_the_papers_step_is_sixty_teraflop_and_not_six_times_its_parameters():
    spec, shape = CodecSpec("encodec_24khz", "0", 24_000, 320, 128, 8, 1024), TransformerShape()
    method = parse_method({"name": "sb"})
    with torch.device("meta"):
        network = method.build_network(spec, shape)
    parts = transformer_step_flops(method.network_io(spec), shape, 100, 600)
    assert parts.frames == pytest.approx(54.5e12, rel=0.005)
    assert parts.attention == pytest.approx(5.3e12, rel=0.005)
    parameters = sum(p.numel() for p in network.parameters())
    assert 6 * parameters * 60_000 > 1.2 * parts.total


@pytest.mark.parametrize(
    ("device", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989.4e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA RTX A6000", 154.8e12),
        ("NVIDIA A10G", 70e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA Quadro K600", None),
    ],
)
def test_peaks_are_found_by_the_names_that_drivers_give(device, peak):
    assert peak_bf16(device) == peak


def test_rates_follow_from_the_cost_of_a_step():
    rates = StepCost(100, 800.0, 6e13, 2 * 989.4e12).rates(steps=10, elapsed=2.0)
    assert rates["examples_per_second"] == 500
    assert rates["audio_hours_per_second"] == pytest.approx(4000 / 3600)
    assert rates["flops_per_second"] == 3e14
    assert rates["mfu"] == pytest.approx(3e14 / (2 * 989.4e12))
    assert "mfu" not in StepCost(1, 1.0, 1.0, None).rates(1, 1.0)
    assert "flops_per_second" not in StepCost(1, 1.0, None, 1.0).rates(1, 1.0)
    assert "MFU 15.2 %" in in_words(rates)


def test_activations_are_what_the_backward_pass_needs():
    network = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 4))
    meter, x = ActivationMeter(network, torch.device("cpu")), torch.randn(5, 8)
    with meter.measure():
        y = network(x)
    assert meter.bytes == 4 * 5 * (8 + 32 + 32)  # The input, GELU's input and GELU's output.
    y.sum().backward()
    assert network[0].weight.grad is not None
