"""The whole line, small: synthetic speech to shards, models, a registered version and a page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from resyn import cli


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = cli.parser("Run the whole line on synthetic speech. Resumes; reuses what is complete.")
    made.add_argument("--output", metavar="DIR", help="folder of everything it makes")
    made.add_argument("--minutes", help="minutes of training speech")
    made.add_argument("--seed", help="seed of speech, training and noise")
    made.add_argument("--threads", help="CPU threads")
    return made


def main(arguments: Sequence[str]) -> None:
    """Parse and run the stages."""
    args = parser().parse_args(arguments)
    from resyn.config.demo import DemoConfig
    from resyn.runtime.demo import Demo

    config = DemoConfig().override(cli.settings_tree(args))
    demo = Demo(config)
    if args.dry_run:
        print(config.to_yaml(), demo.describe(), sep="\n")
        return
    demo.run()


if __name__ == "__main__":
    cli.run(main)
