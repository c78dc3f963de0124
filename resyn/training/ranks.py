"""What the ranks of a run must have in common before they train together."""

from __future__ import annotations

import torch
import torch.distributed as dist

from resyn.errors import PassingFault


def require_same_step(step: int, world_size: int, device: torch.device, where: str) -> None:
    """Raises PassingFault on every rank when they start from different steps. Collective.

    A rank that could not read what the others could has fallen back to an older checkpoint.
    """
    if world_size == 1:
        return
    ends = torch.tensor([step, -step], device=device)
    dist.all_reduce(ends, op=dist.ReduceOp.MAX)
    last, first = int(ends[0]), -int(ends[1])
    if first != last:
        raise PassingFault(
            f"{where}: the workers read different checkpoints, of steps {first} and {last}; the "
            "same command tries again"
        )
