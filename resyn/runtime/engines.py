"""The engine that the settings ask for, on this worker's device."""

from __future__ import annotations

import os
import tempfile

import torch
from torch import nn

from resyn.config.train import TrainConfig
from resyn.training.data import BatchPlan, TrainingData
from resyn.training.engine import Engine, TorchEngine
from resyn.training.micro_batch import learns_in_forward, measured_micro_batch
from resyn.training.zero import compiles


def with_measured_batch(config: TrainConfig, network: nn.Module, data: TrainingData) -> TrainConfig:
    """`config` with the micro-batch that this GPU's memory takes, where that is left open.

    A network that learns as it is used cannot be tried out: it keeps the default.
    """
    if config.batch.micro_batch != "auto" or not config.run.use_gpu:
        return config
    if learns_in_forward(network):
        return config
    device = torch.device("cuda", torch.cuda.current_device())
    found = measured_micro_batch(config, network, data, device)
    batch = config.batch.model_copy(update={"micro_batch": found})
    return config.model_copy(update={"batch": batch})


def build_engine(config: TrainConfig, network: nn.Module) -> Engine:
    """The engine around `network`, for the world that this process is part of."""
    run = config.run
    world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    batch = BatchPlan.divide(config.batch, world)
    if run.engine == "torch":
        device = f"cuda:{torch.cuda.current_device()}" if run.use_gpu else "cpu"
        return TorchEngine(network, config.optim, batch.accumulation, device, compiles(run))
    from resyn.runtime.deepspeed_engine import DeepSpeedEngine, deepspeed_settings

    if not torch.distributed.is_initialized():
        store = tempfile.mkstemp(prefix="resyn-rendezvous-")[1]
        os.unlink(store)
        os.environ.setdefault("LOCAL_RANK", "0")
        torch.distributed.init_process_group(
            "nccl" if run.use_gpu else "gloo", init_method=f"file://{store}", rank=0, world_size=1
        )
    settings = deepspeed_settings(run, config.optim, batch.micro, batch.accumulation)
    return DeepSpeedEngine(network, config.optim, settings, run.use_gpu, compiles(run))
