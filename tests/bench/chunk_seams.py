"""How far chunked resynthesis lies from the same made whole, for networks with global attention.

Trains the demo's networks for a few steps on synthetic speech, then makes a minute of other voices
whole and in chunks. Differences are root mean squares of normalised latents, to be read beside the
model's own error; frames count as near when they lie within a second of a chunk's end.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from resyn.audio.io import read_audio
from resyn.audio.resample import resample
from resyn.codec import load_codec
from resyn.corpus import write_librilight, write_librispeech
from resyn.presets import preset
from resyn.resynthesis import Resynthesizer
from resyn.runtime.ray_train import train_in_process
from resyn.sampling.chunks import Chunking, decode_stream, stitch
from tests.tiny_shards import encode_folder

CHUNKING = Chunking.of_seconds(10, 2, 75)


def main() -> None:
    """Print the differences; the argument is the number of training steps."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_librilight(root / "audio", minutes=4, seed=0)
        encode_folder(root / "audio", root / "shards", "demo_24khz")
        write_librispeech(root / "held", utterances=24, seed=0)
        frames = [
            resample(read_audio(str(f)), 24_000) for f in sorted(root.rglob("held/**/*.flac"))
        ]
        speech = np.concatenate([audio.samples for audio in frames])[: 60 * 24_000]
        audio = torch.from_numpy(speech[: len(speech) // 320 * 320])[None, None]
        report_codecs(audio)
        for name, nfe in (("onestep", 1), ("sb", 1), ("c2f", 1), ("c2f", 7)):
            output = root / name
            if not output.exists():
                train(name, root / "shards", output, steps)
            report(f"{name} NFE {nfe}", Resynthesizer.from_checkpoint(str(output)), audio, nfe)


def train(name: str, shards: Path, output: Path, steps: int) -> None:
    """A few steps of the demo's recipe, in this process."""
    values = {
        "shards": str(shards),
        "output": str(output),
        "steps": steps,
        "batch.batch_seconds": 16,
        "run.engine": "torch",
        "run.num_workers": 0,
        "run.threads_per_worker": torch.get_num_threads(),
        "tracking.uri": "off",
    }
    train_in_process(preset("demo", name).override(values), say=lambda line: None)


def report(name: str, model: Resynthesizer, audio: Tensor, nfe: int) -> None:
    """Differences near the chunks' ends and away from them, and the model's own error."""
    truth = model.codec.encode(audio)
    codes = truth.codes[:, : model.num_coarse]
    spans = CHUNKING.spans(codes.shape[2])
    whole = model.latents(codes, nfe, [0])
    made = (model.latents(codes[:, :, s.start : s.stop], nfe, [0]) for s in spans)
    chunked = torch.cat(list(stitch(made, spans)), dim=1)
    near = torch.zeros(codes.shape[2], dtype=torch.bool)
    for edge in [s.start for s in spans[1:]] + [s.stop for s in spans[:-1]]:
        near[max(edge - 75, 0) : edge + 75] = True

    def rms(left: Tensor, right: Tensor, frames: Tensor) -> float:
        difference = (left - right)[0, frames] / model.space.std
        return float(difference.square().mean().sqrt())

    everywhere = torch.ones_like(near)
    near_rms, away_rms = rms(chunked, whole, near), rms(chunked, whole, ~near)
    error = [rms(made, truth.z, everywhere) for made in (whole, chunked)]
    wave = model.decode(whole).samples
    noise = model.decode(chunked).samples - wave
    ratio = 10 * np.log10(np.square(wave).mean() / np.square(noise).mean())
    print(
        f"{name}: near {near_rms:.4f}, away {away_rms:.4f}; error to z {error[0]:.4f} whole, "
        f"{error[1]:.4f} chunked; waveforms {ratio:.1f} dB apart ({len(spans)} chunks)",
        flush=True,
    )


def report_codecs(audio: Tensor) -> None:
    """Chunked decoding against decoding at once, of the first 20 s."""
    for name in ("demo_24khz", "encodec_24khz_random"):
        codec = load_codec(name)
        z = codec.encode(audio[:, :, : 20 * 24_000]).z
        whole = codec.decode(z)
        for context in (8, 32, 150):
            stretches = decode_stream(z.split(600, dim=1), codec.decode, 320, context)
            error = float((torch.cat(list(stretches), dim=2) - whole).abs().max())
            scale = float(whole.abs().max())
            print(f"{name}: decoding with {context} frames of context, {error / scale:.1e} of peak")


if __name__ == "__main__":
    main()
