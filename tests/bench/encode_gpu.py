"""EnCodec's encoder on one device: times real time, share of its arithmetic, what dominates.

`python -m tests.bench.encode_gpu` on a GPU machine, from the repository's root; no Ray, no shards,
no weights. Without a GPU, and with `--device cpu`, it is a few seconds on one core. The limit: all
operations at the rate of a large matrix product of the same precision on this device.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from resyn.codec.arithmetic import exact_float32
from resyn.codec.base import EncoderOptions, Precision
from resyn.codec.encodec import EncodecCodec, load_encodec_random
from resyn.codec.encodec_stream import CHUNK_FRAMES

RATE, HOP, LEVELS, SIZE, DIM = 24_000, 320, 8, 1024, 128


def operations(seconds: float) -> dict[str, float]:
    """FLOP of each part for `seconds` of audio, a multiply-add counting two."""
    codec = load_encodec_random(None, "cpu")
    assert isinstance(codec, EncodecCodec)
    lstm, frames = codec._sections.recurrence.lstm, seconds * RATE / HOP
    with FlopCounterMode(display=False) as counter:
        codec.encode(torch.zeros(1, 1, CHUNK_FRAMES * HOP))
    found = counter.get_flop_counts()["Global"]
    convolved = sum(count for kind, count in found.items() if "convolution" in str(kind))
    # Four gates, each of an input and of the state, in every layer.
    gates = 2 * 4 * lstm.num_layers * (lstm.input_size + lstm.hidden_size) * lstm.hidden_size
    return {
        "convolutions": convolved / CHUNK_FRAMES * frames,
        "LSTM": gates * frames,
        "quantiser": 2 * LEVELS * SIZE * DIM * frames,
    }


def product_rate(device: torch.device, precision: Precision) -> float:
    """FLOP/s of a large matrix product."""
    size = 8192 if device.type == "cuda" else 512
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    times = [clock(lambda: a @ b, device) for _ in range(13)]
    return 2 * size**3 / statistics.median(times[3:])


def clock(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds of `work`, to the end of what it queued."""
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def parts(codec: EncodecCodec, audio: torch.Tensor, device: torch.device) -> dict[str, float]:
    """Seconds of each part of one encode, the device waited for at every boundary."""
    took: defaultdict[str, float] = defaultdict(float)

    def timed(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            made: list[Any] = []
            took[name] += clock(lambda: made.append(plain(*given, **named)), device)
            return made[0]

        return call

    sections, quantiser = codec._sections, codec._network.quantizer.vq
    sections.first = timed("convolutions", sections.first)
    sections.last = timed("convolutions", sections.last)
    sections.recurrence.lstm.forward = timed("LSTM", sections.recurrence.lstm.forward)
    quantiser.encode = timed("quantiser", quantiser.encode)
    whole = clock(lambda: codec.encode(audio), device)
    return {**took, "the rest": whole - sum(took.values())}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, help="segments at once; default 32 on a GPU, else 1")
    parser.add_argument("--seconds", type=float, help="of a segment; default 30 on a GPU, else 8")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    device, on_gpu = torch.device(args.device), args.device != "cpu"
    torch.set_num_threads(1)
    exact_float32()
    batch, seconds = args.batch or (32 if on_gpu else 1), args.seconds or (30 if on_gpu else 8)
    name = torch.cuda.get_device_name(device) if on_gpu else "CPU, one core (no GPU is measured)"
    print(f"{name}, torch {torch.__version__}, {batch} segments of {seconds:g} s at once")
    flop = operations(batch * seconds)
    print(", ".join(f"{p} {n / batch / seconds / 1e9:.2f}" for p, n in flop.items()), end=" ")
    print("GFLOP per second of audio")
    print("| encoder | x real time | of the limit | where the time goes |\n|---|--:|--:|---|")
    audio = 0.1 * torch.randn(batch, 1, round(seconds * RATE / HOP) * HOP)
    settings: list[tuple[Precision, bool]] = [("fp32", False), ("fp32", True), ("bf16", True)]
    for precision, compiled in settings if on_gpu else settings[:1]:
        codec = load_encodec_random(None, args.device, EncoderOptions(precision, compiled))
        assert isinstance(codec, EncodecCodec)
        work = partial(codec.encode, audio)
        work(), work()  # Compilation, and the first allocations.
        took = statistics.median(clock(work, device) for _ in range(args.rounds))
        share = sum(flop.values()) / product_rate(device, precision) / took
        spent = parts(codec, audio, device)
        where = ", ".join(f"{part} {s / sum(spent.values()):.0%}" for part, s in spent.items())
        label = f"| {precision}, {'compiled' if compiled else 'eager'}"
        print(f"{label} | {batch * seconds / took:.1f} | {share:.1%} | {where} |", flush=True)


if __name__ == "__main__":
    main()
