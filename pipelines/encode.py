"""Audio to token shards. Takes up an unfinished output where it stopped."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from resyn import cli


def main(argv: Sequence[str]) -> None:
    """Run the command line. Raises UserError or RunError."""
    args = _parser().parse_args(argv)
    values = cli.settings_tree(args, "audit")
    from resyn.config.encode import EncodeConfig
    from resyn.runtime import encoding

    config = EncodeConfig().override(values)
    if args.audit and not config.input:
        encoding.audit_output(config.output)
    elif args.dry_run:
        encoding.show_plan(config)
    else:
        encoding.run(config, full_audit=args.audit)


def _parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__ or "")
    parser.add_argument(
        "--input", metavar="URI", help="folder of audio, or a manifest, tar or Parquet"
    )
    parser.add_argument("--output", metavar="URI", help="folder of shards")
    kinds = "auto; trees: librispeech, librilight, folder; files or folders of them: webdataset, "
    kinds += "parquet; manifests: nemo, lhotse, fairseq"
    parser.add_argument("--source", metavar="KIND", help=kinds)
    parser.add_argument("--codec", help="encodec_24khz, demo_24khz, waveform_24khz, …")
    parser.add_argument("--codec-weights", metavar="URI", help="the codec's weights")
    parser.add_argument("--columns", help="payloads: codes,z,audio")
    parser.add_argument("--split", help="name for the split column")
    parser.add_argument(
        "--segment-seconds", type=float, metavar="S", help="longest segment; default 30"
    )
    stitch = "keep only the speech that LibriLight's voice_activity names, stitched to segments"
    parser.add_argument("--cut-by-vad", action="store_true", default=None, help=stitch)
    parser.add_argument("--unit-minutes", type=float, help="audio per shard")
    pool = "codec actors: a number, or a range that Ray scales within; default what fits"
    parser.add_argument("--num-actors", metavar="N|MIN:MAX", help=pool)
    devices = "auto (cuda where the cluster has GPUs), cpu or cuda"
    parser.add_argument("--device", metavar="DEVICE", help=devices)
    share = "share of a GPU per actor; default 1"
    parser.add_argument("--num-gpus-per-actor", type=float, metavar="F", help=share)
    parser.add_argument(
        "--max-quarantine", type=float, metavar="S", help="share refused that fails the job"
    )
    parser.add_argument(
        "--audit", action="store_true", help="verify every shard; without --input nothing else"
    )
    return parser


if __name__ == "__main__":
    cli.run(main)
