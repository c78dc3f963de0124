"""What a run reports about its speed and its memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resyn.training.flops import peak_bf16


@dataclass(frozen=True, slots=True)
class StepCost:
    """What one optimiser step over all ranks amounts to."""

    items: int
    """Crops."""
    seconds: float
    """Audio, in seconds."""
    flops: float | None
    """Operations as `resyn.training.flops` counts them; None where there is no formula."""
    peak: float | None
    """FLOP/s that all devices together could reach in bf16; None where unknown."""

    def rates(self, steps: int, elapsed: float) -> dict[str, float]:
        """Metrics of `steps` steps in `elapsed` seconds.

        `examples_per_second`, `audio_hours_per_second`, and where they are known
        `flops_per_second` (achieved) and `mfu`, the share of the peak, from 0 to 1.
        """
        rate = steps / max(elapsed, 1e-9)
        figures = {
            "examples_per_second": rate * self.items,
            "audio_hours_per_second": rate * self.seconds / 3600,
        }
        if self.flops is not None:
            figures["flops_per_second"] = rate * self.flops
            if self.peak is not None:
                figures["mfu"] = rate * self.flops / self.peak
        return figures


def device_peak(device: torch.device) -> float | None:
    """Dense bf16 FLOP/s of `device`; None for a CPU or a device that the table lacks."""
    return peak_bf16(torch.cuda.get_device_name(device)) if device.type == "cuda" else None


class ActivationMeter:
    """Bytes that a forward pass keeps for its backward pass, parameters apart.

    On a GPU by how much the allocator's memory grows in the pass; on a CPU, whose allocator does
    not tell, as the size of the storages that autograd saves.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self.device = device
        self.bytes: int | None = None
        self._own = {p.untyped_storage().data_ptr() for p in network.parameters()}

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Measure the forward pass inside."""
        if self.device.type == "cuda":
            before = torch.cuda.memory_allocated(self.device)
            yield
            self.bytes = torch.cuda.memory_allocated(self.device) - before
            return
        sizes: dict[int, int] = {}

        def note(saved: Tensor) -> Tensor:
            storage = saved.untyped_storage()
            if storage.data_ptr() not in self._own:
                sizes[storage.data_ptr()] = storage.nbytes()
            return saved

        with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
            yield
        self.bytes = sum(sizes.values())


def memory_figures(meter: ActivationMeter) -> dict[str, float]:
    """`activation_gib` of one micro-batch, and on a GPU `peak_memory_gib` of the run so far."""
    figures = {} if meter.bytes is None else {"activation_gib": meter.bytes / 2**30}
    if meter.device.type == "cuda":
        figures["peak_memory_gib"] = torch.cuda.max_memory_allocated(meter.device) / 2**30
    return figures


def in_words(figures: Mapping[str, float]) -> str:
    """`14.2 examples/s  0.0079 audio-h/s  12.3 TFLOP/s  MFU 41.2 %  peak 25.1 GiB`."""
    words = [
        f"{figures['examples_per_second']:.1f} examples/s",
        f"{figures['audio_hours_per_second']:.3g} audio-h/s",
    ]
    if "flops_per_second" in figures:
        words.append(f"{figures['flops_per_second'] / 1e12:.3g} TFLOP/s")
    if "mfu" in figures:
        words.append(f"MFU {figures['mfu']:.1%}".replace("%", " %"))
    if "peak_memory_gib" in figures:
        words.append(f"peak {figures['peak_memory_gib']:.1f} GiB")
    elif "activation_gib" in figures:
        words.append(f"activations {figures['activation_gib'] * 1024:.3g} MiB")
    if "seconds_to_first_step" in figures:
        words.append(f"first step after {figures['seconds_to_first_step']:.1f} s")
    return "  ".join(words)
