"""Speed of our training loop against a hand-written minimal loop, same model and batches."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from resyn.config.train import TrainConfig
from resyn.presets import preset
from resyn.randomness import SampleRandom
from resyn.runtime.ray_train import prepare_run
from resyn.training.optim import learning_rate
from tests.interleaved import report_speed
from tests.tiny_shards import write_tiny_shards

STEPS, ROUNDS = 3, 7


def main() -> None:
    """Print the ratios."""
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as folder:
        config = bench_config(Path(folder))
        run = prepare_run(config)
        batches = [run.data.step(step, run.plan, 0) for step in range(STEPS)]
        network, method = run.engine.network, config.typed_method
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

        feeder = run.stepping.feeder

        def ours() -> None:
            for micro_batches in batches:
                run.train_step([feeder.feed(micro.batch, micro.seeds) for micro in micro_batches])

        def minimal() -> None:
            for number, micro_batches in enumerate(batches):
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(number, config.optim, config.steps)
                for micro in micro_batches:
                    random = SampleRandom(micro.seeds)
                    loss = method.loss(network, micro.batch, random).per_item.mean()
                    (loss / len(micro_batches)).backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

        report_speed("our loop ÷ minimal loop, speed", ours, minimal, ROUNDS)
        report_speed("our loop ÷ itself (control)", ours, ours, ROUNDS)


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
