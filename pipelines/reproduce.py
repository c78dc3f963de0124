"""The paper's tables and figures: train what is missing, evaluate, set ours beside the paper's."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from resyn import cli


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = cli.parser("Reproduce the paper's tables and figures. Resumes; ends in one page.")
    add = made.add_argument
    what = "table1, table2, fig2, fig3, several with commas, or all"
    add("--what", metavar="PART", help=f"{what} (all)")
    scale = "demo: all of it on this machine; paper: the paper's recipe on your shards"
    add("--scale", metavar="SCALE", help=f"{scale} (demo)")
    add("--output", metavar="DIR", help="folder of everything it makes (reproduce-out)")
    add("--shards", metavar="URI", help="paper scale: folder written by pipelines/encode.py")
    add("--subset", metavar="SHARE", help="share of the data that table2 trains on (1/60)")
    add("--subset-shards", metavar="URI", help="shards of table2's smaller set, for a subset")
    add("--seed", metavar="N", help="seed of weights, crops and noise")
    workers = "Ray Train workers; 0 trains in this process"
    add("--num-workers", dest="run.num_workers", metavar="N", help=workers)
    add("--use-gpu", dest="run.use_gpu", action="store_true", default=None, help="train on GPUs")
    speech = "paper scale: speech to evaluate on"
    add("--input", dest="evaluate.input", metavar="URI", help=speech)
    most = "evaluation utterances, spread over the speakers"
    add("--max-utterances", dest="evaluate.max_utterances", metavar="N", help=most)
    metrics = "metrics to compute (all but squim_*, at demo scale nor dnsmos_sig and dnsmos_bak)"
    add("--metrics", dest="evaluate.metrics", metavar="M,M", help=metrics)
    local = "folder or hub name; at demo scale nothing is fetched"
    recogniser = f"recogniser of wer (large-v2): {local}"
    add("--whisper", dest="evaluate.whisper", metavar="NAME", help=recogniser)
    speaker = f"speaker model of sim: {local}"
    add("--ecapa", dest="evaluate.ecapa", metavar="NAME", help=speaker)
    add("--squim", dest="evaluate.squim", metavar="FILE", help="weights of squim_*")
    weights = "the codec's weights"
    add("--codec-weights", dest="evaluate.codec_weights", metavar="FILE", help=weights)
    device = "torch device of synthesis (cpu)"
    add("--device", dest="evaluate.run.device", metavar="DEVICE", help=device)
    threads = "CPU threads of synthesis (2)"
    add("--threads", dest="evaluate.run.threads", metavar="N", help=threads)
    store = "MLflow; default mlflow.db in the output"
    add("--tracking-uri", dest="tracking.uri", metavar="URI", help=store)
    return made


def main(arguments: Sequence[str]) -> None:
    """Parse and run the stages, or print their plan."""
    args = parser().parse_args(arguments)
    values = cli.settings_tree(args)
    from resyn.config.reproduce import reproduce_config
    from resyn.runtime.reproducing import Reproducer

    reproduction = Reproducer(reproduce_config(values))
    if args.dry_run:
        print(reproduction.config.to_yaml(), reproduction.describe(), sep="\n")
        return
    reproduction.run()


if __name__ == "__main__":
    cli.run(main)
