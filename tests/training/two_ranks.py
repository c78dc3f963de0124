"""What each of two processes does in `test_step.py`: the same steps, every rank on its share."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from resyn.config.train import OptimSettings
from resyn.training.engine import TorchEngine
from resyn.training.step import TrainStep
from tests.training.synthetic import latent_batch, method_and_network, part_of

ITEMS, STEPS, OPTIM = 16, 3, OptimSettings(lr=1e-2)


def train_share(accumulation: int, rank: int = 0, world: int = 1) -> tuple[TrainStep, Tensor, int]:
    """The step, the losses of this rank's share and the number of gradient exchanges.

    In float64, where AdamW does not blow up the rounding of gradients that ought to be zero.
    """
    method, network = method_and_network()
    engine = TorchEngine(network.double(), OPTIM, accumulation)
    exchanges: list[int] = []

    def counted(group, bucket):  # torch reads annotations here, and not as text.
        exchanges.append(bucket.index())
        return allreduce_hook(None, bucket)

    if isinstance(engine.wrapped, DistributedDataParallel):
        engine.wrapped.register_comm_hook(None, counted)
    step, batch = TrainStep(method, engine, None), latent_batch(ITEMS, dtype=torch.float64)
    micro, losses = ITEMS // world // accumulation, []
    for number in range(STEPS):
        firsts = [rank * (ITEMS // world) + index * micro for index in range(accumulation)]
        ready = [
            step.feeder.feed(
                part_of(batch, first, micro),
                [1000 * number + item for item in range(first, first + micro)],
            )
            for first in firsts
        ]
        losses.append(step(ready, OPTIM.lr)["loss"])
    return step, torch.stack(losses), len(exchanges)


def run_rank(rank: int, folder: str, accumulation: int) -> None:
    """Train as `rank` of two; rank 0 leaves `result.safetensors`."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    step, losses, exchanges = train_share(accumulation, rank, 2)
    dist.all_reduce(losses)
    if rank == 0:
        found = {
            **step.engine.weights(),
            "losses": losses / 2,
            "exchanges": torch.tensor(exchanges),
        }
        save_file(found, Path(folder) / "result.safetensors")
    dist.destroy_process_group()
