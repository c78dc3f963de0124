"""A training loop as one writes it by hand for `torchrun`: the rival of `bench/train_ray.py`."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from resyn.config.train import TrainConfig
from resyn.data.shards import ShardReader
from resyn.randomness import SampleRandom
from resyn.training.data import BatchPlan, TrainingData
from tests.turns import serve


def main(config_file: str, folder: str, steps: int) -> None:
    """Steps over batches in memory, in turns with another group of processes."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    dist.init_process_group("gloo")
    config = TrainConfig.model_validate_json(Path(config_file).read_text())
    torch.manual_seed(config.seed)
    data = TrainingData(config, ShardReader(config.shards))
    plan = BatchPlan.divide(config.batch, dist.get_world_size())
    batches = [data.step(number, plan, dist.get_rank()) for number in range(steps)]
    method = config.typed_method
    network = method.build_network(data.reader.spec, config.model)
    wrapped = DistributedDataParallel(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=config.optim.betas)

    def work() -> None:
        for micro_batches in batches:
            for index, micro in enumerate(micro_batches):
                last = index == len(micro_batches) - 1
                with nullcontext() if last else wrapped.no_sync():
                    random = SampleRandom(micro.seeds)
                    loss = method.loss(wrapped, micro.batch, random).per_item.mean()
                    (loss / len(micro_batches)).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), config.optim.gradient_clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    serve(Path(folder), "torchrun", work)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
