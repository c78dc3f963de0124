"""The real loop on Ray Train with DeepSpeed against torchrun with DDP, two gloo workers each.

They take turns. Also how long a worker group takes from its start to its first step.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from resyn.config.train import TrainConfig
from resyn.runtime.ray_cluster import ensure_ray
from resyn.runtime.ray_train import fit, prepare_run
from resyn.runtime.worker_group import PreemptionNotice
from resyn.training.observer import Observer, Progress
from tests.bench.train_step import bench_config
from tests.interleaved import print_ratios
from tests.loop_turns import loop_config, recorder_of
from tests.turns import TurnTaker, take_turns

STEPS, ROUNDS = 2, 7


def main() -> None:
    """Print the time to the first step, then the ratio."""
    ensure_ray(num_cpus=2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = bench_config(folder).override(
            {
                "batch.micro_batch": 4,
                "run.engine": "deepspeed",
                "run.num_workers": 2,
                "run.threads_per_worker": 1,
            }
        )
        first_step(config)
        against_torchrun(config, folder)


def first_step(config: TrainConfig) -> None:
    """A run of one step through `fit`, as a user makes it."""
    lines: list[str] = []
    begun = time.perf_counter()
    fit(config.override({"steps": 1, "tracking.uri": "off"}), lines.append)
    whole = time.perf_counter() - begun
    found = re.search(r"first step after ([\d.]+) s", "\n".join(lines))
    assert found is not None, lines
    print(
        f"first step after the worker group is up: {found[1]} s (goal ≤ 10 s; "
        f"whole fit: {whole:.1f} s)"
    )


def against_torchrun(config: TrainConfig, folder: Path) -> None:
    """Seconds of a turn of each, round by round."""
    turns = folder / "turns"
    turns.mkdir()
    config = config.override({"output": f"{folder}/turns-run"})
    config = loop_config(config, folder, STEPS, ROUNDS + 2)
    (folder / "config.json").write_text(config.model_dump_json())
    arguments = ["tests/minimal_ddp.py", f"{folder}/config.json", str(turns), str(STEPS)]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    rival = subprocess.Popen([*launcher, "--nproc-per-node=2", *arguments], env=environment)
    ours = threading.Thread(target=start_on_ray, args=(config, turns))
    ours.start()
    try:
        seconds = take_turns(turns, ["ray", "torchrun"], ROUNDS)
    finally:
        ours.join()
        rival.wait(60)
    ratios = [r / t for r, t in zip(seconds["ray"], seconds["torchrun"], strict=True)]
    print_ratios("Ray Train + DeepSpeed stage 1 ÷ torchrun DDP, step time", ratios, "≤ 1.05")
    own = seconds["torchrun"]
    print_ratios("torchrun DDP ÷ itself (control)", [b / a for a, b in pairwise(own)])
    for group, times in seconds.items():
        print(f"{group}: {min(times) / STEPS:.3f} to {max(times) / STEPS:.3f} s a step")


def start_on_ray(config: TrainConfig, turns: Path) -> None:
    """A worker group of Ray Train that takes its turns."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    environment = {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "PYTHONPATH": str(Path.cwd())}
    TorchTrainer(
        worker,
        train_loop_config={"config": config.model_dump(mode="json"), "turns": str(turns)},
        scaling_config=ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1}),
        torch_config=TorchConfig(backend="gloo"),
        run_config=RunConfig(
            name="bench",
            storage_path=str(turns.parent),
            worker_runtime_env={"env_vars": environment},
        ),
    ).fit()


class Finished(Exception):
    """There is no turn left."""


class InTurns(Observer):
    """Lets the loop go on for a turn whenever it tells of its progress."""

    def __init__(self, taker: TurnTaker, inner: Observer) -> None:
        self.taker, self.inner = taker, inner

    def progress(self, progress: Progress) -> None:
        """The end of a turn, told within it."""
        self.inner.progress(progress)
        if not self.taker.end_and_wait():
            raise Finished

    def ends_soon(self) -> bool:
        """See `Observer`."""
        return self.inner.ends_soon()


class Group(Observer):
    """Asks Ray Train what the workers of a run ask it."""

    def __init__(self) -> None:
        self.ends_soon = PreemptionNotice(print)


def worker(arguments: dict[str, Any]) -> None:
    """The real loop, in turns; the first worker tells MLflow of it."""
    import torch

    torch.set_num_threads(1)
    config = TrainConfig.parse(arguments["config"])
    run, group = prepare_run(config), Group()
    recorder = recorder_of(config, run, group) if run.engine.rank == 0 else None
    with suppress(Finished):
        run.run(InTurns(TurnTaker(Path(arguments["turns"]), "ray"), recorder or group))
    if recorder is not None:
        recorder.close()


if __name__ == "__main__":
    main()
