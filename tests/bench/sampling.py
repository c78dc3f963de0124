"""What synthesis costs beside its network: overhead of the samplers, and what batches save.

First ratio: a waveform through the Resynthesizer, against NFE bare forward passes of the network
and one decoding. Second: utterances per second of a batch of short ones, against one by one.
Networks are the demo's, untrained, over `demo_24khz`. Interleaved; medians and quartiles. Last: the
real-time factor of the bridge at the paper's size, untrained as well.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from resyn.codec import load_codec
from resyn.codec.base import Precision
from resyn.methods import parse_method
from resyn.presets import preset
from resyn.resynthesis import Resynthesizer
from resyn.types import LatentSpace
from tests.interleaved import seconds

ROUNDS = 9
FRAMES = 300
UTTERANCES, LARGE_UTTERANCES = 64, 16
PAPER_FRAMES, PAPER_NFE, PAPER_ROUNDS = 750, 7, 3


def main() -> None:
    """Print both ratios for every method."""
    print(f"{torch.get_num_threads()} threads, {FRAMES / 75:.0f} s of speech, {ROUNDS} rounds")
    random = np.random.default_rng(0)
    long = random.integers(0, 1024, (1, FRAMES))
    short = [random.integers(0, 1024, (1, n)) for n in random.integers(35, 115, UTTERANCES)]
    for name, nfe in (("c2f", 7), ("onestep", 1), ("sb", 1), ("sb", 4), ("sb", 16)):
        overhead(name, nfe, long)
    for name, nfe in (("c2f", 7), ("onestep", 1), ("sb", 4)):
        for precision in ("fp32", "bf16"):
            batching(untrained_model(name, precision=precision), nfe, short)
    for precision in ("fp32", "bf16"):
        large = untrained_model("onestep", "base_210m", precision)
        batching(large, 1, short[:LARGE_UTTERANCES], rounds=2)
    real_time_factor(random.integers(0, 1024, (1, PAPER_FRAMES)))


def overhead(name: str, nfe: int, codes: np.ndarray) -> None:
    """The sampler against bare passes; the same passes against themselves as a control."""
    model = untrained_model(name)
    bare = bare_work(model, codes, nfe)
    title = f"{name} NFE {nfe}: sampler / bare (goal <= 1.03)"
    ratio(title, lambda: model.resynthesize(codes, nfe), bare)
    ratio(f"{name} NFE {nfe}: bare / bare (control)", bare, bare)


def batching(model: Resynthesizer, nfe: int, codes: list[np.ndarray], rounds: int = 3) -> None:
    """Utterances one by one against all of them in one batch, and in batches of eight."""
    seeds = list(range(len(codes)))
    width = model.network.shape.dim

    def batches(size: int) -> None:
        for first in range(0, len(codes), size):
            part = slice(first, first + size)
            model.resynthesize_batch(codes[part], nfe, seeds=seeds[part])

    def one_by_one() -> None:
        for item, seed in zip(codes, seeds, strict=True):
            model.resynthesize(item, nfe, seed)

    for size in (8, len(codes)):
        title = f"{model.method.name} {width} wide, {model.precision}, NFE {nfe}"
        title += f": one by one / batches of {size} (goal >= 2)"
        ratio(title, one_by_one, lambda size=size: batches(size), rounds)


def real_time_factor(codes: np.ndarray) -> None:
    """Seconds of computing per second of speech for the bridge of `base_210m`."""
    model = untrained_model("sb", "base_210m")
    model.resynthesize(codes, 1)
    audio = codes.shape[1] / model.spec.frame_rate
    spent = [seconds(lambda: model.resynthesize(codes, PAPER_NFE)) for _ in range(PAPER_ROUNDS)]
    factors = ", ".join(f"{one / audio:.2f}" for one in sorted(spent))
    print(
        f"sb NFE {PAPER_NFE}, base_210m, {audio:.0f} s of speech: RTF {factors} (goal <= 1.2)",
        flush=True,
    )


def untrained_model(
    name: str, preset_name: str = "demo", precision: Precision = "fp32"
) -> Resynthesizer:
    """The preset's network of `name` with random weights."""
    codec, config = load_codec("demo_24khz"), preset(preset_name, name)
    method = parse_method({"name": name})
    space = LatentSpace(codec.codebooks, torch.zeros(codec.spec.dim), torch.ones(codec.spec.dim))
    network = method.build_network(codec.spec, config.model)
    return Resynthesizer(method, network, space, codec, precision=precision)


def bare_work(model: Resynthesizer, codes: np.ndarray, nfe: int) -> Callable[[], None]:
    """`nfe` forward passes at ready-made inputs, and a decoding."""
    x = torch.randn(1, codes.shape[1], model.spec.dim)
    io = model.method.network_io(model.spec)
    t = torch.zeros(1) if io.timed or io.num_stages else None
    cond = x if io.cond_dim else None

    @torch.inference_mode()
    def work() -> None:
        for _ in range(nfe):
            model.network(x, t, cond)
        model.decode(x)

    return work


def ratio(
    name: str, left: Callable[[], object], right: Callable[[], object], rounds: int = ROUNDS
) -> None:
    """Time both in turn and print the median of left / right with its quartiles."""
    ratios: list[float] = []
    for number in range(rounds + 1):
        times: list[float] = []
        for work in (left, right):
            begun = time.perf_counter()
            work()
            times.append(time.perf_counter() - begun)
        if number:
            ratios.append(times[0] / times[1])
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"{name}: {middle:.3f} (quartiles {low:.3f} to {high:.3f})", flush=True)


if __name__ == "__main__":
    main()
