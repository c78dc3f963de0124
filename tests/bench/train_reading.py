"""Training from shards through the reader against the same steps on batches in memory."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import torch

from resyn.runtime.ray_train import prepare_run
from resyn.training.ahead import load_ahead
from tests.bench.read_shards import encode_corpus
from tests.bench.train_step import bench_config
from tests.interleaved import print_ratios, seconds

STEPS, ROUNDS = 4, 7


def main() -> None:
    """Print the ratio and its control."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shards = {"shards": str(encode_corpus(folder / "corpus"))}
        run = prepare_run(bench_config(folder).override(shards))
        held = [run.data.step(number, run.plan, 0) for number in range(STEPS)]
        feeder, fresh = run.stepping.feeder, itertools.count(STEPS)

        def from_shards() -> None:
            numbers = itertools.islice(fresh, STEPS)
            for micro_batches in load_ahead(run.ready_batches, numbers):
                run.train_step(micro_batches)

        def from_memory() -> None:
            for micro_batches in held:
                run.train_step([feeder.feed(micro.batch, micro.seeds) for micro in micro_batches])

        for title, work in (("reader-fed", from_shards), ("in memory (control)", from_memory)):
            work(), from_memory()
            ratios = [seconds(work) / seconds(from_memory) for _ in range(ROUNDS)]
            print_ratios(f"{title} ÷ in memory, step time", ratios)


if __name__ == "__main__":
    main()
