"""Train a method on token shards: shards in, checkpoints, an MLflow run and a model out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from resyn import cli


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = cli.parser("Train a method on token shards. Resumes when the output exists.")
    cli.training_options(made)
    made.add_argument("--codec", metavar="NAME", help="refuse shards of any other codec")
    start = "checkpoint or run whose weights to start from"
    made.add_argument("--init-from", dest="init_from", metavar="URI", help=start)
    stage = "DeepSpeed ZeRO stage, 0 to 3"
    made.add_argument("--zero-stage", dest="run.zero_stage", metavar="N", help=stage)
    file = "DeepSpeed JSON such as cluster/deepspeed/zero2.json, in place of --zero-stage"
    made.add_argument("--deepspeed-config", dest="run.deepspeed_config", metavar="FILE", help=file)
    profile = {"nargs": "?", "const": 3, "metavar": "N", "help": "time and trace N steps (3)"}
    made.add_argument("--profile", dest="run.profile", **profile)
    register = "register the result as a model"
    made.add_argument("--register", dest="tracking.register_as", metavar="NAME", help=register)
    return made


def main(arguments: Sequence[str]) -> None:
    """Parse, build the settings, train, register."""
    args = parser().parse_args(arguments)
    from resyn.runtime.promotion import check_registration, register_result
    from resyn.runtime.ray_train import fit
    from resyn.training.plan import plan_training
    from resyn.training.settings import train_config

    config = train_config(args.preset, cli.settings_tree(args, "preset"))
    check_registration(config)
    if args.dry_run:
        plan = plan_training(config)
        print(config.to_yaml(), plan.describe(), sep="\n")
        return
    result = fit(config)
    print(f"checkpoint  {result.checkpoint}")
    if result.best:
        print(f"best        {result.best}")
    register_result(config, result)


if __name__ == "__main__":
    cli.run(main)
