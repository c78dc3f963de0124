"""Micro-batches on the device before the step asks for them, and nothing read back."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from resyn.randomness import AheadRandom, Draw, SampleRandom
from resyn.types import AudioBatch, LatentBatch, LatentSpace


@dataclass(frozen=True, slots=True)
class Ready:
    """A batch on its device, the randomness of its items, and their weights (B,) if they differ."""

    batch: LatentBatch | AudioBatch
    random: SampleRandom
    weights: Tensor | None = None
    """One per item, (B,); None weighs all alike."""
    arrived: torch.cuda.Event | None = None
    """When the copies are done; None where nothing is copied behind the step's back."""

    def mean(self, values: Tensor) -> Tensor:
        """The mean of `values` (B,) by weight; of anything but one value per item the plain one."""
        if self.weights is None or values.shape != self.weights.shape:
            return values.mean()
        return (values * self.weights).mean()

    def take(self) -> Ready:
        """Make the current stream wait for the copies. The host does not wait."""
        if self.arrived is None:
            return self
        stream = torch.cuda.current_stream()
        stream.wait_event(self.arrived)
        drawn = self.random.waiting if isinstance(self.random, AheadRandom) else []
        own = [] if self.weights is None else [self.weights]
        for tensor in [*tensors_of(self.batch), *drawn, *own]:
            tensor.record_stream(stream)  # Their memory belongs to the copying stream.
        return self


class Feeder:
    """Moves batches to `device`; call it from the loader's threads.

    On a GPU through pinned memory and on a stream of its own, together with the noise that the
    step before drew, so that the step neither draws nor waits. The latent space, the same for all
    batches of a run, is moved once.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.draws: list[Draw] = []
        """What a step is expected to draw; the step leaves it here."""
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._space: tuple[LatentSpace, LatentSpace] | None = None

    def feed(
        self, batch: LatentBatch | AudioBatch, seeds: list[int], weights: Tensor | None = None
    ) -> Ready:
        """`batch` with one seed and at most one weight per item, on the way to the device."""
        if self._stream is None:
            placed = None if weights is None else self._move(weights)
            return Ready(self._moved(batch), SampleRandom(seeds, self.device), placed)
        with torch.cuda.stream(self._stream):
            moved = self._moved(batch)
            placed = None if weights is None else self._move(weights)
            random = AheadRandom(seeds, self.device, self.draws, self._move)
            arrived = torch.cuda.Event()
            arrived.record(self._stream)
            return Ready(moved, random, placed, arrived)

    def _moved(self, batch: LatentBatch | AudioBatch) -> LatentBatch | AudioBatch:
        if isinstance(batch, AudioBatch):
            return AudioBatch(self._move(batch.audio))
        if self._space is None or self._space[0] is not batch.space:
            self._space = (batch.space, batch.space.to(self.device))
        mask = None if batch.mask is None else self._move(batch.mask)
        z, codes = self._move(batch.z), self._move(batch.codes)
        return replace(batch, z=z, codes=codes, space=self._space[1], mask=mask)

    def _move(self, tensor: Tensor) -> Tensor:
        if self._stream is None:
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)


def tensors_of(batch: LatentBatch | AudioBatch) -> list[Tensor]:
    """The batch's own tensors, without those of its latent space."""
    values = [getattr(batch, field.name) for field in fields(batch)]
    return [value for value in values if isinstance(value, Tensor)]
