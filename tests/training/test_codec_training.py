"""A codec in training learns its codebooks by moving averages, in forward passes."""

from __future__ import annotations

import torch

from resyn.config.train import TrainConfig
from resyn.presets import preset
from resyn.randomness import SampleRandom
from resyn.runtime.engines import with_measured_batch
from resyn.training.micro_batch import learns_in_forward
from resyn.types import AudioBatch
from tests.training.synthetic import SHAPE, SPEC, method_and_network

TINY = {"encoder_width": 16, "encoder_depth": 1, "decoder_width": 16, "decoder_depth": 1}


def codec_config(**values: object) -> TrainConfig:
    """A tiny codec and the settings of the debug preset."""
    method = {f"method.{key}": value for key, value in TINY.items()}
    return preset("debug", "codec").override(method | values)


def test_a_codec_learns_in_full_precision_under_bfloat16():
    """As the pass on a GPU does it: the codebooks are averages of float32 residuals."""
    method = codec_config().typed_method
    torch.manual_seed(0)
    network = method.build_network(SPEC, SHAPE).train()
    audio = AudioBatch(0.1 * torch.randn(4, 1, 24_000))
    books = []
    for seed in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            output = method.loss(network, audio, SampleRandom(range(seed, seed + 4)))
        output.per_item.mean().backward()
        assert torch.isfinite(output.per_item).all()
        books.append(network.quantizer.codebooks)
    assert books[0].dtype == torch.float32
    assert not torch.equal(books[0], books[1])
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_a_codec_is_not_tried_out_for_its_micro_batch():
    """No GPU is asked, and the network is left as it was."""
    config = codec_config(**{"batch.micro_batch": "auto", "run.use_gpu": True})
    network = config.typed_method.build_network(SPEC, SHAPE)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    data: object = None
    found = with_measured_batch(config, network, data)  # pyright: ignore[reportArgumentType]
    assert found.batch.micro_limit == 8
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert learns_in_forward(network)
    assert not learns_in_forward(method_and_network()[1])
