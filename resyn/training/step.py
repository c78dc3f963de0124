"""One optimiser step: where method, engine and average meet."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

from torch import Tensor

from resyn.methods import Method
from resyn.randomness import AheadRandom
from resyn.training.ema import WeightAverage
from resyn.training.engine import Engine
from resyn.training.feeding import Feeder, Ready
from resyn.training.profile import Parts
from resyn.training.speed import ActivationMeter
from resyn.types import LossOutput


class TrainStep:
    """One rank's step. It queues work and reads nothing back from the device."""

    def __init__(self, method: Method, engine: Engine, average: WeightAverage | None) -> None:
        self.method, self.engine, self.average = method, engine, average
        self.feeder = Feeder(engine.device)
        self.parts = Parts()
        """Names the parts of a step to whoever times them."""
        self.meter = ActivationMeter(engine.network, engine.device)

    def __call__(self, micro_batches: Sequence[Ready], lr: float) -> dict[str, Tensor]:
        """Forward, backward and update at `lr`; loss and metrics as means over the items.

        The means are scalars on the engine's device.
        """
        sums: dict[str, Tensor] = {}
        for index, micro in enumerate(micro_batches):
            with self.engine.micro_batch(index == len(micro_batches) - 1):
                output = self._forward(micro)
                with self.parts("backward"):
                    self.engine.backward(micro.mean(output.per_item))
            parts = {"loss": output.per_item.detach(), **output.metrics}
            for name, value in parts.items():
                mean = micro.mean(value) / len(micro_batches)
                sums[name] = sums[name] + mean if name in sums else mean
        with self.parts("optimiser"):
            self.engine.step(lr)
        if self.average is not None:
            with self.parts("average"):
                self.average.update(self.engine.network)
        return sums

    def _forward(self, micro: Ready) -> LossOutput:
        first = self.meter.bytes is None
        with (
            self.parts("forward"),
            self.meter.measure() if first else nullcontext(),
            self.engine.autocast(),
        ):
            ready = micro.take()
            output = self.method.loss(self.engine.module, ready.batch, ready.random)
        if isinstance(ready.random, AheadRandom):
            self.feeder.draws = ready.random.asked
        return output
