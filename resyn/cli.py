"""What every pipeline's command line shares. Imports nothing heavy: `--help` must be quick."""

from __future__ import annotations

import argparse
import atexit
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from resyn.errors import RunError, UserError

#: Set before any heavy import: no usage reports of Ray, no tokenizer threads, which forks upset.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "TOKENIZERS_PARALLELISM": "false"}


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default where there is one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return super()._get_help_string(action) if action.default else action.help


def parser(description: str) -> argparse.ArgumentParser:
    """An argument parser with the options that all pipelines take."""
    made = argparse.ArgumentParser(description=description, formatter_class=_Formatter)
    made.add_argument("--config", metavar="FILE", help="YAML file of settings")
    made.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="assignments",
        help="override one setting by its dotted key; may be repeated",
    )
    made.add_argument("--dry-run", action="store_true", help="print settings and plan, then stop")
    return made


def training_options(made: argparse.ArgumentParser) -> None:
    """The options that training and sweeping share; each is a setting under its `dest`."""
    add = made.add_argument
    add("--method", dest="method.name", metavar="NAME", help="codec, c2f, onestep or sb")
    add("--shards", metavar="URI", help="folder written by pipelines/encode.py")
    add("--output", metavar="URI", help="folder of what it makes; a path or s3://")
    add("--preset", default="base_210m", metavar="NAME", help="debug, demo or base_210m")
    add("--steps", metavar="N", help="optimiser steps")
    add("--seed", metavar="N", help="seed of weights, crops and noise")
    add("--engine", dest="run.engine", metavar="NAME", help="deepspeed or torch")
    workers = "Ray Train workers, or the fewest and most as 2:8; 0 trains without Ray"
    add("--num-workers", dest="run.num_workers", metavar="N", help=workers)
    on = {"action": "store_true", "default": None}
    add("--use-gpu", dest="run.use_gpu", help="one GPU per worker", **on)
    store = "MLflow; default sqlite:///mlflow.db"
    add("--tracking-uri", dest="tracking.uri", metavar="URI", help=store)


def settings_tree(args: argparse.Namespace, *besides: str) -> dict[str, Any]:
    """Dotted settings in rising precedence: `--config`, then flags given, then `--set`.

    Every argument is a setting under its `dest`, a dotted key (`dest="run.threads"`), but for
    those of `parser` and those named `besides`; one that is None was not given.
    """
    from resyn.config.base import flatten, load_yaml, parse_assignments

    values: dict[str, Any] = flatten(load_yaml(args.config)) if args.config else {}
    others = {"config", "assignments", "dry_run", *besides}
    given = {k: v for k, v in vars(args).items() if k not in others and v is not None}
    return values | given | parse_assignments(args.assignments)


def run(main: Callable[[Sequence[str]], None]) -> NoReturn:
    """Run a pipeline's `main` and leave with 0, 2 (wrong call) or 1 (failed run).

    What argparse ends (`--help`, an unknown flag) leaves at once.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    code = _attempt(main)
    # Python's own clean-up (Ray's shutdown among it), and then no destructors of C++ libraries:
    # with MLflow and pyarrow in one process they abort now and then, and the exit code is lost.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _attempt(main: Callable[[Sequence[str]], None]) -> int:
    """The exit code of `main`; what went wrong is printed in one line."""
    try:
        main(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RunError as error:
        if os.environ.get("RESYN_TRACEBACK"):
            traceback.print_exc()
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command resumes", file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()
        return 1
    return 0
