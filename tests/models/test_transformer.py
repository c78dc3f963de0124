"""Size and symmetries of the network."""

from __future__ import annotations

import pytest
import torch

from resyn.codec.base import CodecSpec
from resyn.methods import parse_method
from resyn.models.embeddings import rotary_angles, rotate
from resyn.models.shape import TransformerShape
from resyn.models.transformer import Transformer
from resyn.presets import preset
from resyn.randomness import SampleRandom
from resyn.types import NetworkIO

ENCODEC = CodecSpec("encodec_24khz", "0", 24_000, 320, 128, 8, 1024)
SHAPE = TransformerShape(num_layers=2, dim=32, num_heads=4, ff_dim=64, conv_kernel=5)


@pytest.mark.parametrize("name", ["c2f", "onestep", "sb"])
def test_base_has_210m_parameters(name):
    config = preset("base_210m", name)
    with torch.device("meta"):
        network = parse_method({"name": name}).build_network(ENCODEC, config.model)
    assert 205e6 <= sum(p.numel() for p in network.parameters()) <= 215e6


def test_rotary_scores_depend_on_distance_alone():
    q, k = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)
    angles = rotary_angles(12, 8, torch.device("cpu"))
    turned = [rotate(v.expand(1, 1, 12, 8), angles)[0, 0] for v in (q, k)]
    scores = turned[0] @ turned[1].T
    for distance in range(-5, 6):
        diagonal = scores.diagonal(distance)
        assert torch.allclose(diagonal, diagonal[0].expand_as(diagonal), atol=1e-5)


def test_layer_dropout_gates_items_apart_and_is_off_in_evaluation():
    torch.manual_seed(0)
    shape = SHAPE.model_copy(update={"layer_dropout": 0.5})
    net = Transformer(NetworkIO(8, 8), shape)
    for layer in net.layers:
        torch.nn.init.normal_(layer.narrow.weight)
    x = torch.randn(1, 6, 8).expand(8, 6, 8)
    gated = net.train()(x, random=SampleRandom(range(8)))
    assert len({tuple(row.flatten().tolist()) for row in gated.detach()}) > 1
    again = net(x, random=SampleRandom(range(8)))
    assert torch.equal(gated, again)
    plain = net.eval()(x, random=SampleRandom(range(8)))
    assert torch.allclose(plain, plain[:1].expand_as(plain), atol=1e-6)


def test_stages_have_their_own_heads():
    torch.manual_seed(0)
    net = Transformer(NetworkIO(8, 5, num_stages=3), SHAPE).eval()
    x = torch.randn(1, 6, 8).expand(3, 6, 8)
    mixed = net(x, torch.tensor([0, 1, 2]))
    for stage in range(3):
        alone = net(x[:1], torch.tensor([stage]))
        assert torch.allclose(mixed[stage : stage + 1], alone, atol=1e-5)
    assert not torch.allclose(mixed[0], mixed[1])


def test_a_timed_network_needs_its_time():
    with pytest.raises(ValueError, match="time"):
        Transformer(NetworkIO(8, 8, timed=True), SHAPE)(torch.zeros(1, 4, 8))
