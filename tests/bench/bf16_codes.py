"""bf16 against float32 on a CPU: which share of the codes stays the same, by level.

On synthetic speech. Every level quantises what the levels before left over, so that one flip is
followed by others; the error of z is beside it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from resyn.audio.io import read_audio
from resyn.codec import EncoderOptions, load_codec
from resyn.corpus import write_librispeech

CODECS = ("encodec_24khz_random", "demo_24khz")
UTTERANCES, HOP = 12, 320


def main() -> None:
    """Print a line per codec."""
    torch.set_num_threads(1)
    clips = speech()
    seconds = sum(clip.shape[-1] for clip in clips) / 24_000
    print(f"{len(clips)} utterances, {seconds:.0f} s of synthetic speech")
    for name in CODECS:
        print(compare(name, clips))


def speech() -> list[Tensor]:
    """Utterances at 24 kHz, (1,1,S) each, whole frames."""
    with tempfile.TemporaryDirectory() as folder:
        write_librispeech(Path(folder), utterances=UTTERANCES, seed=5)
        files = sorted(Path(folder).rglob("*.flac"))
        samples = [read_audio(str(file), 24_000).samples for file in files]
    return [torch.from_numpy(s[: len(s) // HOP * HOP])[None, None] for s in samples]


def compare(name: str, clips: list[Tensor]) -> str:
    """The agreement of one codec with itself."""
    exact, rounded = load_codec(name), load_codec(name, options=EncoderOptions("bf16"))
    same, errors, squares = [], 0.0, 0.0
    for clip in clips:
        a, b = exact.encode(clip), rounded.encode(clip)
        same.append((a.codes == b.codes)[0])
        errors += float((a.z - b.z).square().sum())
        squares += float(a.z.square().sum())
    equal = 100 * torch.cat(same, dim=1).float().mean(dim=1)
    levels = " ".join(f"{share:.1f}" for share in equal.tolist())
    error = (errors / squares) ** 0.5
    return f"{name}: {equal.mean():.1f} % of codes equal; by level {levels}; error of z {error:.2%}"


if __name__ == "__main__":
    main()
