"""The data of a step depends on seed and step; how ranks divide it changes no sum."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from resyn.config.train import BatchSettings, TrainConfig
from resyn.errors import UserError
from resyn.presets import preset
from resyn.training.ahead import load_ahead
from resyn.training.data import BatchPlan, MicroBatch, TrainingData, open_shards
from resyn.training.feeding import Feeder
from resyn.types import LatentBatch
from tests.tiny_shards import write_tiny_shards

ITEMS = 7


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """Seven crops of half a second a step, from six segments in one shard."""
    shards = write_tiny_shards(tmp_path_factory.mktemp("batches"), "demo_24khz")
    values = {"shards": str(shards), "batch.batch_seconds": 3.5, "batch.crop_seconds": 0.5}
    return preset("debug", "sb").override(values)


@pytest.fixture(scope="module")
def data(config: TrainConfig) -> TrainingData:
    return TrainingData(config, open_shards(config))


def plan(world: int, micro: int) -> BatchPlan:
    settings = BatchSettings(batch_seconds=ITEMS, crop_seconds=1, micro_batch=micro)
    return BatchPlan.divide(settings, world)


def weighed(data: TrainingData, division: BatchPlan, step: int) -> dict[int, np.ndarray]:
    """By seed: the codes of every item that counts, on all ranks."""
    found: dict[int, np.ndarray] = {}
    for rank in range(division.world):
        for micro in data.step(step, division, rank):
            assert isinstance(micro.batch, LatentBatch)
            weights = [1.0] * len(micro.seeds) if micro.weights is None else micro.weights.tolist()
            for seed, weight, codes in zip(micro.seeds, weights, micro.batch.codes, strict=True):
                if weight:
                    assert seed not in found
                    found[seed] = codes.numpy()
    return found


@pytest.mark.parametrize("micro", [1, 2, 3, 8])
@pytest.mark.parametrize("world", range(1, ITEMS + 1))
def test_every_item_counts_once_and_alike(world: int, micro: int) -> None:
    division = plan(world, micro)
    passes = [division.passes(rank) for rank in range(world)]
    items = [item for rank in passes for part in rank for item in part]
    assert items == list(range(ITEMS))
    assert all(len(rank) == division.accumulation for rank in passes)
    assert max(len(part) for rank in passes for part in rank) <= division.micro <= micro
    assert division.places >= ITEMS
    assert division.micro * (division.accumulation - 1) < -(-ITEMS // world)


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_a_step_holds_the_same_items_in_any_world(data: TrainingData, world: int) -> None:
    whole = weighed(data, plan(1, ITEMS), step=3)
    assert len(whole) == ITEMS
    divided = weighed(data, plan(world, 2), step=3)
    assert divided.keys() == whole.keys()
    for seed, codes in whole.items():
        np.testing.assert_array_equal(divided[seed], codes)


def test_the_first_steps_and_the_rest_are_all_steps(config: TrainConfig) -> None:
    """Three steps in a world of 1, then three in a world of 2, in readers of their own."""

    def items(steps: range, world: int) -> list[set[int]]:
        fresh = TrainingData(config, open_shards(config))
        division = plan(world, 2)
        ranks = [
            list(load_ahead(lambda step, r=rank: fresh.step(step, division, r), steps, 3, 2))
            for rank in range(world)
        ]
        return [
            {seed for rank in ranks for micro in rank[n] for seed in counted(micro)}
            for n in range(len(steps))
        ]

    whole = items(range(6), 1)
    assert items(range(3), 1) + items(range(3, 6), 2) == whole
    assert items(range(3), 2) + items(range(3, 6), 1) == whole
    assert len(set.union(*whole)) == 6 * ITEMS


def counted(micro: MicroBatch) -> list[int]:
    weights = [1.0] * len(micro.seeds) if micro.weights is None else micro.weights.tolist()
    return [seed for seed, weight in zip(micro.seeds, weights, strict=True) if weight]


@pytest.mark.parametrize(("world", "micro"), [(2, 8), (3, 2), (5, 1), (1, 3)])
def test_gradients_of_unequal_shares_are_those_of_the_whole_batch(
    config: TrainConfig, data: TrainingData, world: int, micro: int
) -> None:
    """As the engines compute them: means over passes, then over ranks."""
    method = config.typed_method
    torch.manual_seed(0)
    network = method.build_network(data.reader.spec, config.model)
    network.eval()

    def gradients(division: BatchPlan) -> torch.Tensor:
        network.zero_grad()
        for rank in range(division.world):
            for part in data.step(0, division, rank):
                ready = Feeder(torch.device("cpu")).feed(part.batch, part.seeds, part.weights)
                output = method.loss(network, ready.batch, ready.random)
                scale = division.world * division.accumulation
                (ready.mean(output.per_item) / scale).backward()
        return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

    whole = gradients(plan(1, ITEMS))
    assert whole.abs().max() > 1e-3
    torch.testing.assert_close(gradients(plan(world, micro)), whole, atol=1e-6, rtol=1e-4)


def test_more_workers_than_crops_are_refused() -> None:
    with pytest.raises(UserError, match=r"batch\.batch_seconds: 7 crops .* for 8 workers"):
        plan(8, 1)


@pytest.mark.parametrize(
    ("text", "range_"), [("3", (3, 3)), ("2:8", (2, 8)), ("0", (1, 1)), ([2, 4], (2, 4))]
)
def test_workers_are_a_number_or_a_range(text: object, range_: tuple[int, int]) -> None:
    config = preset("debug", "sb").override({"run.num_workers": text})
    assert config.run.worker_range == range_
    again = TrainConfig.parse(config.model_dump(mode="json"))
    assert again.run.num_workers == config.run.num_workers


@pytest.mark.parametrize("text", ["8:2", "0:4", "two", "1:2:3", "-1", "2:"])
def test_other_numbers_of_workers_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"run\.num_workers: .*as 2:8"):
        preset("debug", "sb").override({"run.num_workers": text})
