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

#: Set before any heavy import: no usage reports, and DeepSpeed's choice of device made explicit.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "TOKENIZERS_PARALLELISM": "false"}


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default where there is one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, []) else super()._get_help_string(action)


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


def settings_tree(args: argparse.Namespace, flags: dict[str, str]) -> dict[str, Any]:
    """Dotted settings in rising precedence: `--config`, then flags given, then `--set`.

    `flags` maps an argument's name to its dotted key; an argument that is None was not given.
    """
    from resyn.config.base import flatten, load_yaml, parse_assignments

    values: dict[str, Any] = flatten(load_yaml(args.config)) if args.config else {}
    given = {key: getattr(args, name) for name, key in flags.items()}
    values |= {key: value for key, value in given.items() if value is not None}
    return values | parse_assignments(args.assignments)


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
