"""How far chunked resynthesis lies from the same made whole, by distance from a seam.

    chunk_seams.py [CHECKPOINT …]    without any, the demo's networks are trained for a few steps

For methods that draw nothing: one-step and coarse-to-fine.
A frame's difference is the root mean square of normalised latents, of which z itself has about 1.
A seam is the middle of the overlap of two chunks. With attention over the whole chunk every frame
differs a little, since a chunk sees less than the whole: the tolerance says what counts as equal.
"""

from __future__ import annotations

import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from resyn.audio.io import read_audio
from resyn.audio.resample import resample
from resyn.corpus import write_librilight, write_librispeech
from resyn.evaluation.metrics.base import Pair
from resyn.evaluation.metrics.si_snr import si_snr
from resyn.presets import preset
from resyn.resynthesis import Resynthesizer
from resyn.runtime.ray_train import train_in_process
from resyn.sampling.chunks import Chunking, stitch
from tests.tiny_shards import encode_folder

SECONDS, STEPS = 60, 40
CHUNKINGS = (Chunking.of_seconds(10, 2, 75), Chunking.of_seconds(20, 4, 75))
TOLERANCE = 0.1
"""Of a frame's difference: a tenth of the latents' own spread, below every model's error to z."""


def main() -> None:
    """Print the differences of every model, NFE and chunking."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        audio = held_out_speech(root)
        for place in sys.argv[1:] or trained_here(root):
            model = Resynthesizer.from_checkpoint(place)
            counts = {1, model.max_nfe} if model.max_nfe < 100 else {1, 4}
            for nfe in sorted(counts):
                for chunking in CHUNKINGS:
                    report(model, audio, nfe, chunking)


def held_out_speech(root: Path) -> Tensor:
    """A minute of voices that training does not hear, one after another: (1,1,S) at 24 kHz."""
    write_librispeech(root / "held", utterances=24, seed=0)
    files = sorted(root.rglob("held/**/*.flac"))
    speech = np.concatenate([resample(read_audio(str(f)), 24_000).samples for f in files])
    return torch.from_numpy(speech[: SECONDS * 24_000])[None, None]


def trained_here(root: Path) -> list[str]:
    """The demo's one-step and coarse-to-fine networks after a few steps."""
    write_librilight(root / "audio", minutes=4, seed=0)
    shards = encode_folder(root / "audio", root / "shards", "demo_24khz")
    values = {
        "shards": str(shards),
        "steps": STEPS,
        "batch.batch_seconds": 16,
        "run.engine": "torch",
        "run.num_workers": 0,
        "run.threads_per_worker": torch.get_num_threads(),
        "tracking.uri": "off",
    }
    places = {name: str(root / name) for name in ("onestep", "c2f")}
    for name, output in places.items():
        config = preset("demo", name).override({**values, "output": output})
        train_in_process(config, say=lambda line: None)
    return list(places.values())


def report(model: Resynthesizer, audio: Tensor, nfe: int, chunking: Chunking) -> None:
    """One line: the error at the seams, where it falls below the tolerance, and what is left."""
    truth = model.codec.encode(audio)
    codes = truth.codes[:, : model.num_coarse]
    spans = chunking.spans(codes.shape[2])
    whole = model.latents(codes, nfe, [0])
    made = (model.latents(codes[:, :, s.start : s.stop], nfe, [0]) for s in spans)
    chunked = torch.cat(list(stitch(made, spans)), dim=1)
    seams = torch.tensor([(a.stop + b.start) / 2 for a, b in pairwise(spans)])
    distance = (torch.arange(codes.shape[2])[:, None] - seams).abs().amin(1)

    def rms(left: Tensor, right: Tensor) -> Tensor:
        return ((left - right)[0] / model.space.std).square().mean(-1).sqrt()

    error, own = rms(chunked, whole), rms(whole, truth.z)
    over = error > TOLERANCE
    reach = f", up to {float(distance[over].max()) / 75:.1f} s from a seam" if over.any() else ""
    near, far = error[distance < 38], error[distance >= 150]
    print(
        f"{model.method.name} NFE {nfe}, chunks of {chunking.chunk / 75:g} s overlapping by "
        f"{chunking.overlap / 75:g} s: mean {float(near.mean()):.4f} max {float(near.max()):.4f} "
        f"within 0.5 s of a seam, mean {float(far.mean()):.4f} max {float(far.max()):.4f} beyond "
        f"2 s; above {TOLERANCE:g} in {float(over.float().mean()):.2%} of frames{reach}; the "
        f"model's own error to z {float(own.mean()):.3f}",
        flush=True,
    )
    made, reference = (model.decode(z).samples.reshape(len(distance), -1) for z in (chunked, whole))
    parts = {"within 0.5 s of a seam": distance < 38, "beyond 2 s": distance >= 150}
    shown = [f"{sdr(reference[p.numpy()], made[p.numpy()]):.1f} dB {k}" for k, p in parts.items()]
    print(f"    decoded, SI-SNR of chunked against whole: {', '.join(shown)}", flush=True)


def sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """SI-SNR of frames of samples, in dB."""
    return si_snr(Pair(reference.ravel(), estimate.ravel(), 24_000))


if __name__ == "__main__":
    main()
