"""Train a method on token shards: shards in, checkpoints, an MLflow run and a model out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from resyn import cli

#: Command-line flags and the settings they stand for.
FLAGS = {
    "method": "method.name",
    "shards": "shards",
    "output": "output",
    "codec": "codec",
    "steps": "steps",
    "seed": "seed",
    "engine": "run.engine",
    "num_workers": "run.num_workers",
    "zero_stage": "run.zero_stage",
    "use_gpu": "run.use_gpu",
    "tracking_uri": "tracking.uri",
    "register": "tracking.register_as",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = cli.parser("Train a method on token shards. Resumes when the output exists.")
    made.add_argument("--method", help="codec, c2f, onestep or sb")
    made.add_argument("--shards", metavar="URI", help="folder written by pipelines/encode.py")
    made.add_argument("--output", metavar="URI", help="folder of the run; a folder or s3://")
    made.add_argument("--preset", default="base_210m", help="debug, demo or base_210m")
    made.add_argument("--codec", help="refuse shards of any other codec")
    made.add_argument("--steps", help="optimiser steps")
    made.add_argument("--seed", help="seed of weights, crops and noise")
    made.add_argument("--engine", help="deepspeed or torch")
    made.add_argument("--num-workers", help="Ray Train workers; 0 trains in this process")
    made.add_argument("--zero-stage", help="DeepSpeed ZeRO stage, 0 to 3")
    made.add_argument("--use-gpu", action="store_true", default=None, help="one GPU per worker")
    made.add_argument("--tracking-uri", metavar="URI", help="MLflow; default sqlite:///mlflow.db")
    made.add_argument("--register", metavar="NAME", help="register the result as a model")
    return made


def main(arguments: Sequence[str]) -> None:
    """Parse, build the settings, train, register."""
    args = parser().parse_args(arguments)
    from resyn.runtime.ray_train import fit
    from resyn.training.plan import plan_training
    from resyn.training.settings import train_config

    config = train_config(args.preset, cli.settings_tree(args, FLAGS))
    if args.dry_run:
        plan = plan_training(config)
        print(config.to_yaml(), plan.describe(), sep="\n")
        return
    result = fit(config)
    print(f"checkpoint  {result.checkpoint}")
    if config.tracking.register_as:
        from resyn.runtime.registry import register_model

        version = register_model(
            result.checkpoint,
            config.tracking.register_as,
            tracking_uri=config.tracking.uri,
            run_id=result.run_id,
        )
        print(f"registered  {version.uri}")


if __name__ == "__main__":
    cli.run(main)
