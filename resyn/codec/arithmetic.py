"""How an encoder computes: precision, and compilation for static shapes."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resyn.codec.base import Precision

#: A piece of an encoder over one chunk: input and contexts to output and the next contexts.
Section = Callable[[Tensor, list[Tensor] | None], tuple[Tensor, list[Tensor]]]


class CompileWarning(UserWarning):
    """The encoder could not be compiled and runs as it is."""


def encoder_precision(device: torch.device, precision: Precision) -> torch.autocast:
    """The context in which an encoder's network runs, and nothing else does."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def exact_float32() -> None:
    """Make float32 mean float32 on a GPU, and the same shape the same bits.

    torch lets cuDNN's convolutions and recurrences round their inputs to TF32 (10 bits) unless told
    otherwise. Concerns the whole process.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


class FastElu(nn.Module):
    """ELU within 6e-8 of torch's, whose `expm1` takes half of the encoder's time on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_cpu or x.dtype != torch.float32:
            return F.elu(x)
        # exp(x) - 1 >= x, with equality at 0, so the larger of the two is right on both sides.
        negative = x.clamp(max=0).exp_().sub_(1)
        return torch.maximum(x, negative, out=negative)


class CompiledSection:
    """`section` as one graph for each static shape that it meets; a CUDA graph on a GPU.

    Where compiling fails, a `CompileWarning` says why and `section` runs as it is from then on.
    `backend` is torch's name of the compiler.
    """

    def __init__(self, section: nn.Module, device: torch.device, backend: str = "inductor") -> None:
        self._section = section
        self._replays = device.type == "cuda"
        mode = "reduce-overhead" if self._replays else "default"
        self._compiled: Section | None = torch.compile(
            section, backend=backend, mode=mode, dynamic=False, fullgraph=True
        )

    def __call__(self, x: Tensor, contexts: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """As `section`; what it returns stays valid through later calls."""
        if self._compiled is None:
            return self._section(x, contexts)
        if self._replays:
            torch.compiler.cudagraph_mark_step_begin()
        try:
            y, kept = self._compiled(x, contexts)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            self._compiled = None
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            warnings.warn(
                f"the encoder could not be compiled and runs slower ({first}); --set compile=off "
                "leaves it out",
                CompileWarning,
                stacklevel=2,
            )
            return self._section(x, contexts)
        if self._replays:
            # A CUDA graph writes its outputs to the same memory every time.
            return y.clone(), [context.clone() for context in kept]
        return y, kept
