"""Step time of the real loop, from shards through the reader, against batches in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from resyn.training.loop import TrainingRun
from tests.bench.read_shards import encode_corpus
from tests.bench.train_step import bench_config
from tests.interleaved import print_ratios
from tests.loop_turns import loop_config, run_in_turns

STEPS, ROUNDS = 4, 9


def main() -> None:
    """Print the ratio and its control."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shards = {"shards": str(encode_corpus(folder / "corpus"))}
        config = bench_config(folder).override(shards)
        turns = run_in_turns(loop_config(config, folder, STEPS, ROUNDS + 1), from_memory)
    print_ratios("reader-fed loop ÷ steps in memory, step time", turns.ratios, "≤ 1.02")
    print_ratios("steps in memory ÷ themselves (control)", turns.control)


def from_memory(run: TrainingRun) -> Callable[[], None]:
    """`STEPS` of our steps over batches in memory, without the loop around them."""
    held = [run.data.step(number, run.plan, 0) for number in range(STEPS)]
    feeder, lr = run.stepping.feeder, run.config.optim.lr

    def steps() -> None:
        for micro_batches in held:
            run.stepping([feeder.feed(micro.batch, micro.seeds) for micro in micro_batches], lr)

    return steps


if __name__ == "__main__":
    main()
