"""Coarse codes or audio to waveforms with a trained model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from resyn import cli


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = cli.parser("Resynthesise speech from coarse codes, or from audio by way of its codes.")
    made.add_argument("--model", metavar="URI", help="folder, runs:/… or models:/name@alias")
    made.add_argument("--input", metavar="URI", help=".npy, .npz, audio, a folder, or shards")
    made.add_argument("--output", metavar="DIR", help="folder of the waveforms")
    made.add_argument("--nfe", help="network evaluations; default: the method's own")
    made.add_argument("--seed", help="seed of the noise")
    setting = "one of the method's sampling settings, such as guidance=2; may be repeated"
    made.add_argument("--sampling", metavar="NAME=VALUE", action="append", help=setting)
    start = "a model, say of one step, whose estimate the bridge leaves from; counts beside NFE"
    made.add_argument("--start-model", metavar="URI", help=start)
    chunk = "longest stretch made at once, in seconds; bounds the memory of long utterances"
    made.add_argument("--chunk-seconds", metavar="S", help=chunk)
    made.add_argument("--overlap-seconds", metavar="S", help="what chunks share; default 2")
    made.add_argument("--batch-size", metavar="N", help="utterances made together; default 1")
    made.add_argument("--codec-weights", metavar="FILE", help="the codec's weights")
    made.add_argument("--weights", help="ema or raw")
    devices = "auto (cuda where this machine has a GPU), cpu or cuda"
    made.add_argument("--device", metavar="DEVICE", help=devices)
    made.add_argument("--precision", metavar="P", help="of the network: fp32 or bf16")
    made.add_argument("--tracking-uri", metavar="URI", help="MLflow; default sqlite:///mlflow.db")
    made.add_argument("--threads", help="CPU threads")
    return made


def main(arguments: Sequence[str]) -> None:
    """Parse, load the model, write waveforms."""
    args = parser().parse_args(arguments)
    from resyn.config.resynthesize import ResynthesizeConfig
    from resyn.runtime.resynthesizing import describe, resynthesize_all

    config = ResynthesizeConfig().override(cli.settings_tree(args))
    if args.dry_run:
        print(config.to_yaml(), describe(config), sep="\n")
        return
    resynthesize_all(config)


if __name__ == "__main__":
    cli.run(main)
