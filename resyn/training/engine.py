"""What carries a network through training: a small protocol, and plain torch."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from resyn.config.train import OptimSettings
from resyn.models.transformer import Transformer
from resyn.training.optim import build_optimizer

#: Prefixes of AdamW's moments in checkpoints; the parameter's name follows.
MOMENTS = ("exp_avg", "exp_avg_sq")


class Engine(Protocol):
    """Forward, backward and step of one rank; states by parameter name, whole on every rank."""

    network: nn.Module
    """The bare network whose parameters are trained."""
    device: torch.device
    rank: int
    world_size: int

    @property
    def module(self) -> nn.Module:
        """What a method calls as its network."""
        ...

    def micro_batch(self, last: bool) -> AbstractContextManager[object]:
        """Around the forward and backward pass of a micro-batch, of which a step has several.

        Ranks exchange gradients in the `last` one only, where the engine can hold them back.
        """
        ...

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of `loss` / accumulation."""
        ...

    def step(self, lr: float) -> None:
        """One clipped optimiser step at `lr`, then clear the gradients."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """All parameters and buffers, float32 on the CPU. Every rank must call it."""
        ...

    def moments(self) -> dict[str, Tensor]:
        """AdamW's moments as `exp_avg.<name>` and `exp_avg_sq.<name>`. Every rank must call it."""
        ...

    def load_moments(self, moments: dict[str, Tensor], step: int) -> None:
        """Continue after `step` steps, whatever engine or world wrote the moments.

        The weights must be in the network before the engine is built around it.
        """
        ...

    def autocast(self) -> AbstractContextManager[object]:
        """The precision of forward passes: bfloat16 on a GPU, float32 on a CPU."""
        ...


class TorchEngine:
    """AdamW and, with more than one rank, DistributedDataParallel."""

    def __init__(
        self,
        network: nn.Module,
        settings: OptimSettings,
        accumulation: int,
        device: str = "cpu",
        compiled: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device).train()
        if compiled:
            compile_layers(self.network)
        self.settings = settings
        self.accumulation = accumulation
        self.optimizer = build_optimizer(self.network, settings)
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.world_size = dist.get_world_size() if dist.is_initialized() else 1
        self.wrapped = (
            DistributedDataParallel(
                self.network, broadcast_buffers=False, gradient_as_bucket_view=True
            )
            if self.world_size > 1
            else self.network
        )

    @property
    def module(self) -> nn.Module:
        """The wrapped network."""
        return self.wrapped

    def micro_batch(self, last: bool) -> AbstractContextManager[object]:
        """See `Engine`."""
        if last or not isinstance(self.wrapped, DistributedDataParallel):
            return nullcontext()
        return self.wrapped.no_sync()

    def backward(self, loss: Tensor) -> None:
        """See `Engine`."""
        (loss / self.accumulation).backward()

    def step(self, lr: float) -> None:
        """See `Engine`."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        # All gradients in a few kernels, and no look at the norm from the host.
        nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def weights(self) -> dict[str, Tensor]:
        """See `Engine`."""
        return {name: value.detach().cpu() for name, value in self.network.state_dict().items()}

    def moments(self) -> dict[str, Tensor]:
        """See `Engine`."""
        return read_moments(self.network, self.optimizer)

    def load_moments(self, moments: dict[str, Tensor], step: int) -> None:
        """See `Engine`."""
        write_moments(self.network, self.optimizer, moments, step)

    def autocast(self) -> AbstractContextManager[object]:
        """See `Engine`."""
        cuda = self.device.type == "cuda"
        return torch.autocast("cuda", torch.bfloat16) if cuda else nullcontext()


def read_moments(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The moments of an unpartitioned AdamW by parameter name; empty before its first step."""
    found: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        state: dict[str, Any] = optimizer.state.get(parameter, {})
        found |= {f"{key}.{name}": state[key].detach().cpu() for key in MOMENTS if key in state}
    return found


def write_moments(
    network: nn.Module, optimizer: torch.optim.Optimizer, moments: dict[str, Tensor], step: int
) -> None:
    """Inverse of `read_moments`, with AdamW's own step counter set to `step`."""
    for name, parameter in network.named_parameters():
        if f"{MOMENTS[0]}.{name}" in moments:
            values = {k: moments[f"{k}.{name}"].to(parameter.device).clone() for k in MOMENTS}
            optimizer.state[parameter] = {
                "step": step_counter(optimizer, parameter, step),
                **values,
            }


def step_counter(optimizer: torch.optim.Optimizer, parameter: Tensor, step: int) -> Tensor:
    """AdamW's own count of steps, on the device where its kernels look for it."""
    device = parameter.device if optimizer.defaults["fused"] else torch.device("cpu")
    return torch.tensor(float(step), device=device)


def compile_layers(network: nn.Module) -> None:
    """Compile each layer of a Transformer in place, for static shapes; leaves others as they are.

    Layer by layer, because equal layers share one compilation and the gradients of late layers
    are exchanged while early ones are computed. Names in the network's state stay as they are.
    """
    if not isinstance(network, Transformer):
        return
    import torch._dynamo

    # A layer is small enough not to be cut along DDP's buckets.
    torch._dynamo.config.optimize_ddp = False
    for layer in network.layers:
        layer.compile(fullgraph=True, dynamic=False)
