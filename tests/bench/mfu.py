"""What each optimisation of the training step buys on this device: time, MFU, peak memory.

`python -m tests.bench.mfu` on a GPU machine (from the repository's root) trains `base_210m` of
the bridge on one device with the torch engine, on random latents of the paper's batch: 100 crops
of 600 frames. Needs torch, torchaudio, numpy, pydantic, pyyaml, fsspec and safetensors only; no
Ray, no DeepSpeed, no shards. Each row adds one thing to the row above it. Without a GPU a small
preset takes the place (`--preset debug --steps 2`), and rows that only a GPU has are left out.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from resyn.codec.base import CodecSpec
from resyn.config.train import TrainConfig
from resyn.presets import preset
from resyn.training.ema import WeightAverage
from resyn.training.engine import TorchEngine
from resyn.training.feeding import Feeder, Ready
from resyn.training.flops import peak_bf16, transformer_step_flops
from resyn.training.step import TrainStep
from resyn.types import LatentBatch, LatentSpace

SPEC = CodecSpec("encodec_24khz", "0", 24_000, 320, 128, 8, 1024)
WARM_UP = 3


@dataclass(frozen=True)
class Variant:
    """Which optimisations are on."""

    name: str
    bfloat16: bool = False
    fused_attention: bool = False
    fused_optimiser: bool = False
    foreach_average: bool = False
    ahead: bool = False
    compiled: bool = False
    whole_batch: bool = False


def variants(on_gpu: bool) -> Iterator[Variant]:
    """From plain to everything; without a GPU only what a CPU has."""
    made = Variant("plain loop, fp32, eager")
    yield made
    steps = {
        "bfloat16": "+ bf16 autocast",
        "fused_attention": "+ fused attention",
        "fused_optimiser": "+ fused AdamW",
        "foreach_average": "+ average in few kernels",
        "ahead": "+ batches and noise ahead, pinned",
        "compiled": "+ torch.compile, layer by layer",
        "whole_batch": "+ whole batch at once",
    }
    for field, name in steps.items():
        if on_gpu or field not in ("bfloat16", "fused_optimiser", "ahead", "compiled"):
            made = replace(made, name=name, **{field: True})
            yield made


class PlainEngine(TorchEngine):
    """The torch engine with some of what it does by itself taken away."""

    variant: Variant

    def autocast(self) -> AbstractContextManager[object]:
        """Full precision until the variant says otherwise."""
        return super().autocast() if self.variant.bfloat16 else nullcontext()


class PlainAverage(WeightAverage):
    """An average that goes through the parameters one by one."""

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """See `WeightAverage`."""
        for mine, theirs in zip(self.network.parameters(), network.parameters(), strict=True):
            mine.copy_(mine.lerp(theirs, 1 - self.decay))


class PlainFeeder(Feeder):
    """Copies a batch when the step asks, from ordinary memory, and draws the noise then."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._stream = None


class Bench:
    """The step of one preset on one device."""

    def __init__(self, config: TrainConfig, device: torch.device, steps: int, micro: int) -> None:
        self.config, self.device, self.steps, self.micro = config, device, steps, micro
        self.items = round(config.batch.batch_seconds / config.batch.crop_seconds)
        self.frames = round(config.batch.crop_seconds * SPEC.frame_rate)
        io = config.typed_method.network_io(SPEC)
        self.flops = transformer_step_flops(io, config.model, self.items, self.frames).total
        books = torch.randn(SPEC.num_codebooks, SPEC.codebook_size, SPEC.dim)
        self.space = LatentSpace(books, torch.zeros(SPEC.dim), torch.ones(SPEC.dim))

    def time(self, variant: Variant) -> tuple[float, float]:
        """Mean seconds of a step, and the peak of the device's memory in GiB."""
        micro = self.items if variant.whole_batch else self.micro
        step = self.build(variant, self.items // micro)
        batches = (self.batch(step.feeder, micro, n) for n in range(WARM_UP + self.steps))
        begun = 0.0
        with nullcontext() if variant.fused_attention else sdpa_kernel(SDPBackend.MATH):
            for number, ready in enumerate(loaded_ahead(batches) if variant.ahead else batches):
                if number == WARM_UP:
                    self.synchronise()
                    begun = time.perf_counter()
                step(ready, 1e-4)
            self.synchronise()
        seconds = (time.perf_counter() - begun) / self.steps
        peak = torch.cuda.max_memory_allocated() / 2**30 if self.device.type == "cuda" else 0.0
        return seconds, peak

    def build(self, variant: Variant, accumulation: int) -> TrainStep:
        """A fresh network and its step."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        torch.manual_seed(0)
        config, method = self.config, self.config.typed_method
        network = method.build_network(SPEC, config.model)
        engine = PlainEngine(
            network, config.optim, accumulation, str(self.device), variant.compiled
        )
        engine.variant = variant
        if not variant.fused_optimiser:
            engine.optimizer = torch.optim.AdamW(network.parameters(), foreach=False, fused=False)
        kind = WeightAverage if variant.foreach_average else PlainAverage
        step = TrainStep(method, engine, kind(network, config.optim.ema_decay))
        if not variant.ahead:
            step.feeder = PlainFeeder(self.device)
        return step

    def batch(self, feeder: Feeder, micro: int, number: int) -> list[Ready]:
        """The micro-batches of step `number`."""
        shape = (micro, self.frames, SPEC.dim)
        codes = torch.randint(SPEC.codebook_size, (micro, SPEC.num_codebooks, self.frames))
        latents = LatentBatch(torch.randn(shape), codes, self.space)
        firsts = range(number * self.items, (number + 1) * self.items, micro)
        return [feeder.feed(latents, list(range(first, first + micro))) for first in firsts]

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def loaded_ahead(batches: Iterator[list[Ready]]) -> Iterator[list[Ready]]:
    """`batches`, two of them made by a thread while the caller works."""
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, batches, None) for _ in range(2))
        while (ready := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(next, batches, None))
            yield ready


def product_rate(device: torch.device) -> float:
    """FLOP/s of a large bf16 matrix product (fp32 on a CPU): what this chip gives in practice."""
    size, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (512, torch.float32)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(13):
        begun = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return 2 * size**3 / statistics.median(times[3:])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    on_gpu = torch.cuda.is_available()
    parser.add_argument("--preset", default="base_210m" if on_gpu else "debug")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--micro-batch", type=int, default=20)
    parser.add_argument("--only", type=int, help="rows from this one on")
    args = parser.parse_args()
    device = torch.device("cuda" if on_gpu else "cpu")
    config = preset(args.preset, "sb")
    items = round(config.batch.batch_seconds / config.batch.crop_seconds)
    micro = max(
        n for n in range(1, min(args.micro_batch, max(1, items // 2)) + 1) if items % n == 0
    )
    bench = Bench(config, device, args.steps, micro)
    name = torch.cuda.get_device_name(device) if on_gpu else "CPU"
    peak, product = peak_bf16(name), product_rate(device)
    print(f"{name}, torch {torch.__version__}, {args.preset} sb, {items} x {bench.frames} frames")
    print(f"{bench.flops / 1e12:.4g} TFLOP a step; matrix products {product / 1e12:.4g} TFLOP/s")
    print(
        "| step | ms | TFLOP/s | MFU | of products | peak GiB |",
        "|---|--:|--:|--:|--:|--:|",
        sep="\n",
    )
    for variant in list(variants(on_gpu))[args.only or 0 :]:
        seconds, memory = bench.time(variant)
        rate = bench.flops / seconds
        share = "" if peak is None else f"{rate / peak:.1%}"
        print(
            f"| {variant.name} | {1000 * seconds:.1f} | {rate / 1e12:.4g} | {share} "
            f"| {rate / product:.1%} | {memory:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
