"""Sweep a method's settings: each trial a training run, the best one a config for train.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from resyn import cli

#: Command-line flags and the settings they stand for; `sweep.` is the sweep's, all else training's.
FLAGS = {
    "method": "method.name",
    "shards": "shards",
    "output": "output",
    "steps": "steps",
    "engine": "run.engine",
    "num_workers": "run.num_workers",
    "use_gpu": "run.use_gpu",
    "tracking_uri": "tracking.uri",
    "num_samples": "sweep.num_samples",
    "max_concurrent": "sweep.max_concurrent",
    "metric": "sweep.metric",
}
#: A trial trains in its own process unless it is told to spread.
DEFAULTS = {"run.num_workers": 0, "run.engine": "torch"}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = cli.parser("Sweep a method's settings. --set takes settings of training, and sweep.*.")
    made.add_argument("--method", help="codec, c2f, onestep or sb; also names the search space")
    made.add_argument("--shards", metavar="URI", help="folder written by pipelines/encode.py")
    made.add_argument("--output", metavar="URI", help="folder of the sweep")
    made.add_argument("--preset", default="base_210m", help="debug, demo or base_210m")
    made.add_argument("--steps", help="optimiser steps of a trial")
    made.add_argument("--engine", help="deepspeed or torch")
    made.add_argument("--num-workers", help="Ray Train workers of a trial; 0 for its own process")
    made.add_argument("--use-gpu", action="store_true", default=None, help="one GPU per worker")
    made.add_argument("--tracking-uri", metavar="URI", help="MLflow; default sqlite:///mlflow.db")
    made.add_argument("--num-samples", help="trials, the preset itself being the first")
    made.add_argument("--max-concurrent", help="trials at a time")
    made.add_argument("--metric", help="figure to make small, if not the search space's own")
    return made


def main(arguments: Sequence[str]) -> None:
    """Parse, plan, sweep, print the table."""
    args = parser().parse_args(arguments)
    from resyn.config.tune import SweepSettings
    from resyn.runtime.ray_tune import run_sweep
    from resyn.runtime.sweep import BEST, plan_sweep
    from resyn.training.settings import train_config
    from tune_spaces import search_space

    values = DEFAULTS | cli.settings_tree(args, FLAGS)
    own = {key: values.pop(key) for key in list(values) if key.startswith("sweep.")}
    settings = SweepSettings().override({k.removeprefix("sweep."): v for k, v in own.items()})
    train = train_config(args.preset, values)
    sweep = plan_sweep(settings, train, *search_space(train.typed_method.name))
    if args.dry_run:
        print(train.to_yaml(), sweep.describe(), sep="\n")
        return
    print(sweep.table(run_sweep(sweep)))
    print(f"best        train.py --config {sweep.folder.path(BEST)}")


if __name__ == "__main__":
    cli.run(main)
