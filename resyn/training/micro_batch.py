"""The micro-batch that a GPU's memory takes, measured."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import nn

from resyn.config.train import TrainConfig
from resyn.errors import UserError
from resyn.training.data import BatchPlan, TrainingData
from resyn.training.feeding import Feeder

#: Share of the free memory to plan with; the rest is for fragments and for the prefetched batches.
MARGIN = 0.85

#: Bytes per parameter beside weights and gradients: AdamW's moments, the average, reduction
#: buffers, and the flat fp32 copy of ZeRO.
STATE_BYTES = 20


def largest_that_fits(share: int, peak: Callable[[int], int], budget: int) -> int:
    """The largest useful micro-batch for `share` items that needs at most `budget` bytes.

    Useful are the sizes that `BatchPlan` makes of one pass, two passes and so on, divisors or not.
    `peak(n)` is the most memory that n items take at once, in bytes; it may raise
    torch.OutOfMemoryError instead. It is taken to grow with n by a constant per item, which saves
    most trials; what is returned was tried. Raises UserError when one item is too much.
    """
    untried = sorted({-(-share // passes) for passes in range(1, share + 1)})
    fits: dict[int, int] = {}
    while untried:
        size = untried[0]
        if len(fits) >= 2:
            (small, low), (large, high) = list(fits.items())[-2:]
            slope = (high - low) / (large - small)
            size = max((n for n in untried if high + slope * (n - large) <= budget), default=0)
        if not size:
            break
        need = _bytes_or_none(peak, size)
        if need is not None and need <= budget:
            fits[size] = need
            untried = [n for n in untried if n > size]
        else:
            untried = [n for n in untried if n < size]
    if not fits:
        raise UserError(
            f"batch.crop_seconds: a forward and backward pass of one crop takes more than the "
            f"{budget / 2**30:.1f} GiB that are left on the GPU; shorten the crops"
        )
    return max(fits)


def _bytes_or_none(peak: Callable[[int], int], size: int) -> int | None:
    try:
        return peak(size)
    except torch.OutOfMemoryError:
        return None


def learns_in_forward(network: nn.Module) -> bool:
    """Whether forward passes train `network`: it keeps buffers, such as codebooks, beside weights.

    Its results then depend on how a batch is divided, and a trial would leave traces in it.
    """
    parameters = dict(network.named_parameters(remove_duplicate=False))
    return bool(network.state_dict().keys() - parameters.keys())


def measured_micro_batch(
    config: TrainConfig, network: nn.Module, data: TrainingData, device: torch.device
) -> int:
    """The micro-batch for `config` on this CUDA `device`; the same on all ranks.

    Tries a forward and backward pass of real crops with the uncompiled network, which is left on
    the device without gradients; so not for one that `learns_in_forward`.
    """
    world = dist.get_world_size() if dist.is_initialized() else 1
    plan = BatchPlan.divide(config.batch, world)
    network.to(device).train()
    feeder, method = Feeder(device), config.typed_method

    def peak(items: int) -> int:
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        seconds = items * config.batch.crop_seconds
        trial = config.batch.model_copy(update={"batch_seconds": seconds, "micro_batch": items})
        micro = data.step(0, BatchPlan.divide(trial, 1), 0)[0]
        ready = feeder.feed(micro.batch, micro.seeds).take()
        try:
            with torch.autocast("cuda", torch.bfloat16):
                loss = method.loss(network, ready.batch, ready.random).per_item.mean()
            loss.backward()
            return torch.cuda.max_memory_allocated(device) - before
        finally:
            network.zero_grad(set_to_none=True)

    states = STATE_BYTES * sum(parameter.numel() for parameter in network.parameters())
    free = torch.cuda.mem_get_info(device)[0]
    found = largest_that_fits(-(-plan.items // world), peak, int(MARGIN * free) - states)
    if world > 1:
        agreed = torch.tensor(found, device=device)
        dist.all_reduce(agreed, dist.ReduceOp.MIN)
        found = int(agreed)
    torch.cuda.empty_cache()
    return found
