"""Step time of the real loop, with all it does around a step, against a minimal one by hand.

The same network and batches of the same shape; ours come from shards.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from resyn.config.train import TrainConfig
from resyn.presets import preset
from resyn.randomness import SampleRandom
from resyn.training.loop import TrainingRun
from resyn.training.optim import learning_rate
from tests.interleaved import print_ratios
from tests.loop_turns import loop_config, run_in_turns
from tests.tiny_shards import write_tiny_shards

STEPS, ROUNDS = 3, 9


def main() -> None:
    """Print the ratio and its control."""
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = loop_config(bench_config(folder), folder, STEPS, ROUNDS + 1)
        turns = run_in_turns(config, minimal_loop)
    print_ratios("our loop ÷ minimal loop, step time", turns.ratios, "≤ 1.02")
    print_ratios("minimal loop ÷ itself (control)", turns.control)


def minimal_loop(run: TrainingRun) -> Callable[[], None]:
    """`STEPS` steps as one writes them by hand, of the same network, over batches in memory."""
    config, method, network = run.config, run.method, run.engine.network
    batches = [run.data.step(step, run.plan, 0) for step in range(STEPS)]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=config.optim.betas)

    def minimal() -> None:
        for number, micro_batches in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(number, config.optim, config.steps)
            for micro in micro_batches:
                random = SampleRandom(micro.seeds)
                loss = method.loss(network, micro.batch, random).per_item.mean()
                (loss / len(micro_batches)).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), config.optim.gradient_clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return minimal


def bench_config(folder: Path) -> TrainConfig:
    """The demo's bridge on tiny shards, without averaging, on the torch engine."""
    values = {
        "shards": str(write_tiny_shards(folder, "demo_24khz")),
        "output": f"{folder}/run",
        "batch.crop_seconds": 1.5,
        "batch.batch_seconds": 24,
        "run.engine": "torch",
        "run.num_workers": 0,
        "optim.ema_decay": 0,
    }
    return preset("demo", "sb").override(values)


if __name__ == "__main__":
    main()
