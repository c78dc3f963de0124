"""Sweep a method's settings: each trial a training run, the best one a config for train.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from resyn import cli

#: A trial trains in its own process unless it is told to spread.
DEFAULTS = {"run.num_workers": 0, "run.engine": "torch"}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = cli.parser("Sweep a method's settings. --set takes settings of training, and sweep.*.")
    cli.training_options(made)
    add = made.add_argument
    trials = "trials, the preset itself being the first"
    add("--num-samples", dest="sweep.num_samples", metavar="N", help=trials)
    add("--max-concurrent", dest="sweep.max_concurrent", metavar="N", help="trials at a time")
    also = "further settings to vary, such as latent_scale,start_share"
    add("--also", dest="sweep.also", metavar="NAME,NAME", help=also)
    metric = "figure to make small, if not the search space's own"
    add("--metric", dest="sweep.metric", metavar="NAME", help=metric)
    return made


def main(arguments: Sequence[str]) -> None:
    """Parse, plan, sweep, print the table."""
    args = parser().parse_args(arguments)
    from resyn.config.tune import SweepSettings
    from resyn.runtime.ray_tune import run_sweep
    from resyn.runtime.sweep import BEST, plan_sweep, widen
    from resyn.training.settings import train_config
    from tune_spaces import further_space, search_space

    values = DEFAULTS | cli.settings_tree(args, "preset")
    own = {key: values.pop(key) for key in list(values) if key.startswith("sweep.")}
    settings = SweepSettings().override({k.removeprefix("sweep."): v for k, v in own.items()})
    train = train_config(args.preset, values)
    name = train.typed_method.name
    space, metric = search_space(name)
    sweep = plan_sweep(settings, train, widen(space, further_space(name), settings.also), metric)
    if args.dry_run:
        print(train.to_yaml(), sweep.describe(), sep="\n")
        return
    print(sweep.table(run_sweep(sweep)))
    print(f"best        train.py --config {sweep.folder.path(BEST)}")


if __name__ == "__main__":
    cli.run(main)
