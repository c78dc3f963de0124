"""Evaluate models: the paper's tables and figures, and a page to look at and listen to."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from resyn import cli


def main(argv: Sequence[str]) -> None:
    """Run the command line. Raises UserError or RunError."""
    args = _parser().parse_args(argv)
    values = cli.settings_tree(args)
    from resyn.config.evaluate import EvaluateConfig

    config = EvaluateConfig().override(values)
    from resyn.runtime import evaluating

    if args.dry_run:
        evaluating.show_plan(config)
    else:
        evaluating.run(config)


def _parser() -> argparse.ArgumentParser:
    parser = cli.parser("Evaluate models on speech; complete results are reused.")
    parser.add_argument(
        "--model", metavar="URI", nargs="+", help="checkpoint folder, runs:/… or models:/name@alias"
    )
    parser.add_argument("--input", metavar="URI", help="LibriSpeech tree or folder of audio")
    parser.add_argument("--output", metavar="DIR", help="results.json, table.md, index.html")
    parser.add_argument("--nfe", metavar="N,N", help="network evaluations to try (1,4,7,16)")
    parser.add_argument(
        "--metrics",
        metavar="M,M",
        help="si_snr, estoi, pesq, visqol, log_mel, latent_error, rtf (these); wer, sim, "
        "dnsmos_ovrl, dnsmos_sig, dnsmos_bak, squim_stoi, squim_pesq, squim_si_sdr",
    )
    parser.add_argument(
        "--whisper", metavar="NAME", help="recogniser of wer: folder or hub name (large-v2)"
    )
    parser.add_argument("--ecapa", metavar="NAME", help="speaker model of sim: folder or hub name")
    parser.add_argument("--squim", metavar="FILE", help="weights of squim_*: file or its folder")
    parser.add_argument("--max-utterances", metavar="N", help="spread over the speakers (all)")
    parser.add_argument("--samples-on-page", metavar="N", help="utterances to hear (8)")
    parser.add_argument("--seed", metavar="N", help="of the stochastic methods (0)")
    setting = "one of the methods' sampling settings, such as guidance=2; may be repeated"
    parser.add_argument("--sampling", metavar="NAME=VALUE", action="append", help=setting)
    parser.add_argument("--codec", metavar="NAME", help="without --model: a codec on its own")
    parser.add_argument("--codec-weights", metavar="FILE", help="the codec's weights")
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow server of runs:/ and models:/"
    )
    parser.add_argument(
        "--threads", dest="run.threads", metavar="N", help="CPU threads of synthesis (2)"
    )
    parser.add_argument(
        "--workers", dest="run.workers", metavar="N", help="metric tasks at a time; 0 without Ray"
    )
    parser.add_argument(
        "--device", dest="run.device", metavar="DEVICE", help="torch device of synthesis (cpu)"
    )
    return parser


if __name__ == "__main__":
    cli.run(main)
