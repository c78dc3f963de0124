"""DeepSpeed behind the engine protocol, ZeRO stages 0 to 3."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from resyn.config.train import OptimSettings, RunSettings
from resyn.training.engine import (
    MOMENTS,
    compile_layers,
    read_moments,
    step_counter,
    write_moments,
)
from resyn.training.optim import build_optimizer
from resyn.training.zero import zero_settings


def deepspeed_settings(
    run: RunSettings, optim: OptimSettings, micro_batch: int, accumulation: int
) -> dict[str, Any]:
    """DeepSpeed's own configuration: what the user decides, completed from the other settings.

    Raises UserError as `zero_settings` does.
    """
    settings = zero_settings(run) | {
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": optim.gradient_clip,
        "steps_per_print": 10**9,
    }
    if run.use_gpu:
        settings["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    return settings


def build_operators() -> None:
    """Compile what DeepSpeed needs on a CPU, once per environment: about half a minute."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    _find_operators()
    from deepspeed.comm.torch import build_shm_op

    build_shm_op()


def _find_operators() -> None:
    """Keep compiled operators in this environment, and find its own compiler driver.

    Another environment would build them anew in torch's usual place, and be rebuilt in turn; and
    torch calls `ninja` by name, also where no environment is active.
    """
    import ninja

    os.environ["PATH"] = f"{ninja.BIN_DIR}{os.pathsep}{os.environ['PATH']}"
    folder = Path(sys.prefix) / "torch_extensions"
    if os.access(folder if folder.exists() else sys.prefix, os.W_OK):
        os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(folder))


class DeepSpeedEngine:
    """One rank of a DeepSpeed engine. Needs an initialised process group."""

    def __init__(
        self,
        network: nn.Module,
        optim: OptimSettings,
        settings: dict[str, Any],
        use_gpu: bool,
        compiled: bool = False,
    ) -> None:
        if not use_gpu:
            os.environ.setdefault("DS_ACCELERATOR", "cpu")
        _find_operators()
        import deepspeed

        deepspeed.init_distributed("nccl" if use_gpu else "gloo", verbose=False)
        self.device = (
            torch.device("cuda", torch.cuda.current_device()) if use_gpu else torch.device("cpu")
        )
        self.network = network.to(self.device).train()
        if compiled:
            compile_layers(self.network)
        optimizer = build_optimizer(self.network, optim)
        self.engine, self.optimizer, _, _ = deepspeed.initialize(
            model=self.network, optimizer=optimizer, config=settings
        )
        self.stage = int(self.engine.zero_optimization_stage())
        self.rank = torch.distributed.get_rank()
        self.world_size = torch.distributed.get_world_size()

    @property
    def module(self) -> nn.Module:
        """The DeepSpeed engine, called like the network."""
        return self.engine

    @contextmanager
    def micro_batch(self, last: bool) -> Iterator[None]:
        """See `Engine`. DeepSpeed counts micro-batches itself; ZeRO 2 and 3 reduce in each."""
        yield
        if not last:
            self.engine.step()

    def backward(self, loss: Tensor) -> None:
        """See `Engine`. DeepSpeed divides by the accumulation itself."""
        self.engine.backward(loss)

    def step(self, lr: float) -> None:
        """See `Engine`."""
        for group in self._adam().param_groups:
            group["lr"] = lr
        self.engine.step()

    def autocast(self) -> AbstractContextManager[object]:
        """DeepSpeed casts by itself."""
        return nullcontext()

    def weights(self) -> dict[str, Tensor]:
        """See `Engine`."""
        with self._gathered():
            state = self.network.state_dict()
            return {
                name: value.detach().float().cpu().clone()
                if value.is_floating_point()
                else value.cpu()
                for name, value in state.items()
            }

    def moments(self) -> dict[str, Tensor]:
        """See `Engine`."""
        if self.stage == 0:
            return read_moments(self.network, self._adam())
        from deepspeed.utils import safe_get_full_optimizer_state

        found: dict[str, Tensor] = {}
        for name, parameter in self.network.named_parameters():
            for key in MOMENTS:
                whole = safe_get_full_optimizer_state(parameter, key)
                if whole is not None:
                    found[f"{key}.{name}"] = whole.cpu().clone()
        return found

    def load_moments(self, moments: dict[str, Tensor], step: int) -> None:
        """See `Engine`."""
        if self.stage == 0:
            write_moments(self.network, self._adam(), moments, step)
            return
        from deepspeed.utils import safe_set_full_optimizer_state

        self._shape_states()
        for name, parameter in self.network.named_parameters():
            for key in MOMENTS:
                value = moments[f"{key}.{name}"].to(self.device)
                safe_set_full_optimizer_state(parameter, value, key)
        adam = self._adam()
        for partition, state in adam.state.items():
            state["step"] = step_counter(adam, partition, step)

    def _shape_states(self) -> None:
        """Give ZeRO's flat partitions the states that their first step would create."""
        zero: Any = self.optimizer
        partitioned = self.stage == 3
        for partition in (
            zero.fp32_partitioned_groups_flat
            if partitioned
            else zero.single_partition_of_fp32_groups
        ):
            zeros = {key: torch.zeros_like(partition) for key in MOMENTS}
            counter = step_counter(self._adam(), partition, 0)
            self._adam().state[partition] = {"step": counter, **zeros}
        if not partitioned:
            zero._lazy_init_hp_params_optimizer_state()

    def _adam(self) -> torch.optim.Optimizer:
        """The AdamW inside ZeRO's wrapper."""
        return cast(torch.optim.Optimizer, getattr(self.optimizer, "optimizer", self.optimizer))

    def _gathered(self) -> AbstractContextManager[object]:
        """Whole parameters on every rank for the while; only ZeRO-3 has parts."""
        if self.stage < 3:
            return ExitStack()
        import deepspeed

        return deepspeed.zero.GatheredParameters(list(self.network.parameters()))
