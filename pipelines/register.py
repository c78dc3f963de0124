"""Register a trained model under a name, and promote it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from resyn import cli


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = cli.parser("Register a trained model under a name, and promote it by an alias.")
    made.add_argument("--run", metavar="ID", help="MLflow run that trained the model")
    made.add_argument("--model", metavar="URI", help="or a folder: of a checkpoint or of a run")
    made.add_argument("--name", help="name in the registry")
    made.add_argument("--alias", help="alias to set on the version, such as champion")
    made.add_argument("--if-better", metavar="METRIC", help="only if this beats the alias's holder")
    made.add_argument("--tracking-uri", metavar="URI", help="MLflow; default sqlite:///mlflow.db")
    return made


def main(arguments: Sequence[str]) -> None:
    """Parse, find the checkpoint, register, promote."""
    args = parser().parse_args(arguments)
    from resyn.config.register import RegisterConfig

    config = RegisterConfig.parse(cli.settings_tree(args))
    from resyn.runtime.promotion import promote, source
    from resyn.runtime.tracking_store import open_client, tracking_uri

    if args.dry_run:
        store = tracking_uri(config.tracking_uri)
        print(config.to_yaml())
        print(f"checkpoint  {source(config, open_client(store))}\nstore       {store}")
        return
    promote(config)


if __name__ == "__main__":
    cli.run(main)
