"""`python -m resyn.corpus`: write the synthetic corpus into a folder."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from resyn.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 for success, 1 for a failed run, 2 for a wrong call."""
    args = _parser().parse_args(argv)
    try:
        if args.dry_run:
            _print_plan(args)
        else:
            _write(args)
    except (UserError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (OSError, RuntimeError) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command resumes", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m resyn.corpus",
        description="Write many-voiced synthetic speech: OUTPUT/librilight for training and "
        "OUTPUT/librispeech, with other voices and sentences, for evaluation.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="target folder")
    parser.add_argument(
        "--minutes", type=_positive_float, default=30.0, help="training speech in minutes"
    )
    parser.add_argument(
        "--eval-utterances",
        type=_positive_int,
        default=48,
        metavar="N",
        help="evaluation utterances",
    )
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal bytes")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, then stop")
    return parser


def _positive_float(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be above 0 and finite")
    return value


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _print_plan(args: argparse.Namespace) -> None:
    from resyn.corpus.voices import voices

    print(f"seed {args.seed}")
    print(
        f"{args.output / 'librilight'}: {args.minutes:g} minutes, up to {len(voices('train'))} "
        f"voices, about {max(1, round(args.minutes / 0.62))} files, {args.minutes * 1.1:.0f} MB"
    )
    print(
        f"{args.output / 'librispeech'}: {args.eval_utterances} utterances, up to "
        f"{len(voices('eval'))} voices, about {args.eval_utterances * 0.08:.1f} MB"
    )


def _write(args: argparse.Namespace) -> None:
    from resyn.corpus.tree import write_librilight, write_librispeech

    began = time.perf_counter()
    train = write_librilight(
        args.output / "librilight", minutes=args.minutes, seed=args.seed, progress=_show
    )
    test = write_librispeech(
        args.output / "librispeech", utterances=args.eval_utterances, seed=args.seed
    )
    print(
        f"{args.output}: {train.files} files, {train.seconds / 60:.1f} minutes, {train.speakers} "
        f"voices for training; {test.files} files, {test.seconds / 60:.1f} minutes, "
        f"{test.speakers} voices for evaluation; {time.perf_counter() - began:.1f} s"
    )


def _show(done: float, total: float) -> None:
    """One line that rewrites itself on a terminal, and the last one elsewhere."""
    text = f"librilight: {done / 60:.1f} of {total / 60:.1f} minutes"
    if sys.stderr.isatty():
        print(f"\r{text}", end="\n" if done >= total else "", file=sys.stderr, flush=True)
    elif done >= total:
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
