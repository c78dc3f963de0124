"""ZeRO stages of DeepSpeed against the torch engine: step time with two gloo processes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing

from resyn.config.train import TrainConfig
from resyn.runtime.ray_train import prepare_run
from resyn.training.loop import TrainingRun
from tests.bench.train_step import bench_config
from tests.interleaved import print_ratios, seconds

ROUNDS = 7


def main() -> None:
    """Start both ranks; rank 0 prints."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tree = bench_config(folder).override({"batch.micro_batch": 4}).model_dump_json()
        torch.multiprocessing.spawn(rank_main, (name, tree), nprocs=2)


def rank_main(rank: int, folder: str, tree: str) -> None:
    """All engines side by side in each process, a step of each in turn."""
    torch.set_num_threads(1)
    os.environ["LOCAL_RANK"] = str(rank)  # As a launcher would; DeepSpeed insists.
    store = f"file://{folder}/rendezvous"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    base = TrainConfig.model_validate_json(tree)
    runs = {"torch": prepare_run(base)}
    for stage in range(4):
        values = {"run.engine": "deepspeed", "run.zero_stage": stage}
        runs[f"ZeRO {stage}"] = prepare_run(base.override(values))
    batches = {name: run.ready_batches(0) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(ROUNDS + 1):
        for name, run in runs.items():
            spent = seconds(lambda run=run, name=name: step(run, batches[name]))
            if number:
                times[name].append(spent)
    if rank == 0:
        for name in list(runs)[1:]:
            ratios = [a / b for a, b in zip(times[name], times["torch"], strict=True)]
            print_ratios(f"DeepSpeed {name} ÷ torch engine, step time", ratios)


def step(run: TrainingRun, ready: list) -> None:
    """One step and everybody's end of it."""
    run.train_step(ready)
    dist.barrier()


if __name__ == "__main__":
    main()
