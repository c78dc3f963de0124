"""EnCodec in chunks against whole files, on one core: speed, codes, peak of memory.

The naive loop is what the package's own user writes: `model.encode` on each file.
"""

from __future__ import annotations

import statistics

import numpy as np
import torch
from encodec import EncodecModel
from torch import Tensor

from resyn.codec import encodec
from resyn.codec.encodec import EncodecCodec, load_encodec_random, random_network
from tests.conftest import tone
from tests.interleaved import report_speed, seconds
from tests.peak_memory import peak_growth

LENGTHS = (16, 24)
BATCHES, CHUNKS = (1, 4), (1, 2, 4)
BATCH_SIZES = (1, 4, 32)
ROUNDS = 5


def main() -> None:
    """Print the ratios."""
    torch.set_num_threads(1)
    codec = load_encodec_random(None, "cpu")
    assert isinstance(codec, EncodecCodec)
    model = random_network().eval()
    model.set_target_bandwidth(6.0)
    files = [torch.from_numpy(tone(s, 24_000, s))[None, None] for s in LENGTHS]

    def chunked() -> list[Tensor]:
        return [codec.encode(file).codes for file in files]

    def naive() -> list[Tensor]:
        return [naive_encode(model, file) for file in files]

    same = [a == b for a, b in zip(chunked(), naive(), strict=True)]
    print(f"equal codes: {100 * torch.cat([s.flatten() for s in same]).float().mean():.4f} %")
    for length, file in zip(LENGTHS, files, strict=True):
        sizes = [
            peak_growth(lambda file=file, work=work: work(file)) / 2**20
            for work in (codec.encode, lambda file: naive_encode(model, file))
        ]
        print(f"peak memory, {length} s: {sizes[0]:.0f} MiB in chunks, {sizes[1]:.0f} MiB whole")
    report_speed("chunked ÷ naive, speed", chunked, naive, ROUNDS)
    report_speed("chunked ÷ chunked (control)", chunked, chunked, ROUNDS)
    sweep(codec, files[0][..., : 8 * 24_000])
    agreement(codec, [tone(2, 24_000, seed) for seed in range(max(BATCH_SIZES))])


@torch.inference_mode()
def naive_encode(model: EncodecModel, audio: Tensor) -> Tensor:
    """(1,1,S) to codes (1,8,T), the whole at once."""
    ((codes, _),) = model.encode(audio)
    return codes


def agreement(codec: EncodecCodec, clips: list[np.ndarray]) -> None:
    """Print the share of codes that stay as they are when more clips are encoded at once."""
    audio = torch.from_numpy(np.stack(clips))[:, None]
    alone, *others = (
        torch.cat([codec.encode(batch).codes for batch in audio.split(size)])
        for size in BATCH_SIZES
    )
    for size, codes in zip(BATCH_SIZES[1:], others, strict=True):
        share = (codes == alone).float().mean()
        print(f"codes in batches of {size} equal to those alone: {100 * share:.4f} %")


def sweep(codec: EncodecCodec, audio: Tensor) -> None:
    """Print the speed by size of batch and length of chunk: medians of interleaved runs."""
    tuned = encodec.CHUNK_FRAMES
    took: dict[tuple[int, float], list[float]] = {(b, c): [] for b in BATCHES for c in CHUNKS}
    for _ in range(ROUNDS):
        for (size, chunk), found in took.items():
            encodec.CHUNK_FRAMES = round(chunk * 75)
            batch = audio.repeat(size, 1, 1)
            found.append(seconds(lambda batch=batch: codec.encode(batch)) / size)
    encodec.CHUNK_FRAMES = tuned
    length = audio.shape[-1] / 24_000
    for size in BATCHES:
        speeds = (f"{c:g} s: {length / statistics.median(took[size, c]):.1f}" for c in CHUNKS)
        print(f"times real time by chunk, batches of {size}: " + ", ".join(speeds))


if __name__ == "__main__":
    main()
