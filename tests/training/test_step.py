"""One optimiser step: the same however it is divided, and nothing read back from the device."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
import torch.multiprocessing
from safetensors.torch import load_file
from torch import Tensor, nn

from resyn.config.train import OptimSettings
from resyn.methods.regression import OneStepRegression
from resyn.randomness import AheadRandom, SampleRandom
from resyn.training.ema import WeightAverage
from resyn.training.engine import TorchEngine, compile_layers
from resyn.training.step import TrainStep
from resyn.types import LossOutput
from tests.training.synthetic import SHAPE, latent_batch, method_and_network, part_of
from tests.training.two_ranks import STEPS, run_rank, train_share


def test_two_ranks_equal_one_process_and_exchange_gradients_once_a_step(tmp_path):
    torch.multiprocessing.spawn(run_rank, (str(tmp_path), 4), nprocs=2)
    found = load_file(tmp_path / "result.safetensors")
    step, losses, _ = train_share(1)
    assert torch.allclose(found["losses"], losses, rtol=0, atol=1e-9)
    assert losses[-1] < losses[0]
    for name, value in step.engine.weights().items():
        assert torch.allclose(found[name], value, rtol=0, atol=1e-9), name
    assert found["exchanges"] == STEPS


def test_an_item_of_weight_zero_leaves_no_trace():
    found = []
    for items, weights in ((3, None), (4, torch.tensor([4 / 3] * 3 + [0], dtype=torch.float64))):
        method, network = method_and_network()
        step = TrainStep(method, TorchEngine(network.double(), OptimSettings(), 1), None)
        batch = part_of(latent_batch(4, dtype=torch.float64), 0, items)
        sums = step([step.feeder.feed(batch, list(range(items)), weights)], 1e-3)
        found.append([*sums.values(), *step.engine.weights().values()])
    for three, four in zip(*found, strict=True):
        assert torch.allclose(three, four, rtol=0, atol=1e-9)


def step_on(device: str, method, network: nn.Module) -> TrainStep:
    engine = TorchEngine(network, OptimSettings(), 2, device)
    step = TrainStep(method, engine, WeightAverage(engine.network, 0.9))
    for _ in range(2):
        step([step.feeder.feed(latent_batch(2), [1, 2]) for _ in range(2)], 1e-3)
    return step


@pytest.mark.parametrize("name", ["c2f", "onestep", "sb"])
def test_a_step_reads_nothing_back(name):
    """Tensors on the meta device have no values, so whatever asked for one would fail."""
    step_on("meta", *method_and_network(name))


@dataclass(frozen=True)
class Curious(OneStepRegression):
    """Looks at its loss."""

    def loss(self, net, batch, random) -> LossOutput:
        output = super().loss(net, batch, random)
        return LossOutput(
            output.per_item, {"seen": torch.tensor(float(output.per_item.detach()[0]))}
        )


def test_a_step_that_reads_back_is_noticed():
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        step_on("meta", Curious(), method_and_network("onestep")[1])


DRAWS = [("integers", (7,)), ("normal", (3, 2)), ("uniform", (4,))]


@pytest.mark.parametrize(
    "expected",
    [DRAWS, DRAWS[:1], [], DRAWS[::-1], [*DRAWS, ("normal", (2,))], [DRAWS[0], DRAWS[2]]],
    ids=["all", "the first", "nothing", "another order", "too many", "one left out"],
)
def test_numbers_drawn_ahead_are_those_drawn_when_asked(expected):
    seeds = [3, 1, 4]
    plain, moved = SampleRandom(seeds), []

    def move(tensor: Tensor) -> Tensor:
        moved.append(tensor)
        return tensor.clone()

    ahead = AheadRandom(seeds, "cpu", expected, move)
    assert len(moved) == len(expected)
    for name, arguments in DRAWS:
        assert torch.equal(getattr(ahead, name)(*arguments), getattr(plain, name)(*arguments))
    assert ahead.asked == DRAWS


def test_equal_layers_share_one_compilation_and_compute_the_same(monkeypatch):
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]):
        graphs.append(graph)
        return graph

    compiling = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda s, **k: compiling(s, backend=backend, **k))
    torch._dynamo.reset()
    results = []
    for compiled in (False, True):
        method, network = method_and_network()
        names = list(network.state_dict())
        if compiled:
            compile_layers(network)
        output = method.loss(network, latent_batch(4), SampleRandom(range(4)))
        output.per_item.mean().backward()
        results.append([output.per_item, *(p.grad for p in network.parameters())])
        assert list(network.state_dict()) == names
    assert len(graphs) == 1
    assert SHAPE.num_layers > 1
    for eager, made in zip(*results, strict=True):
        assert torch.allclose(eager, made, atol=1e-6)


@pytest.mark.soak
def test_compiled_layers_compute_what_eager_ones_do():
    """With the real compiler, which takes half a minute on a CPU."""
    torch._dynamo.reset()
    results = []
    for compiled in (False, True):
        method, network = method_and_network()
        if compiled:
            compile_layers(network)
        output = method.loss(network, latent_batch(4), SampleRandom(range(4)))
        output.per_item.mean().backward()
        results.append([output.per_item, *(p.grad for p in network.parameters())])
    for eager, made in zip(*results, strict=True):
        assert torch.allclose(eager, made, atol=1e-5)
