"""Which codec actors a run has: where they compute, how many there are, what each one takes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal

import ray
import torch
from ray._private.state import state

from resyn.codec import COMPILABLE, EncoderOptions
from resyn.config.encode import EncodeConfig
from resyn.errors import UserError
from resyn.runtime.ray_cluster import ensure_ray

#: A decode or commit task asks for this share of a CPU, and each actor leaves as much free, so
#: that all steps fit beside each other, on one CPU too.
TASK_CPUS = 0.25
#: Units that an actor holds: one to encode, one to follow. Ray enlarges a pool from 1.75 on.
UNITS_PER_CALL = 2


@dataclass(frozen=True, slots=True)
class Offer:
    """What a cluster has for actors: CPUs and GPUs now, and GPUs when it has grown."""

    cpus: float
    gpus: float
    most_gpus: float


@dataclass(frozen=True, slots=True)
class CodecActors:
    """A pool of `least` to `most` actors on `device`, each with shares of CPUs and of a GPU.

    `units` bounds the work units under way per actor; segments are encoded `batch_size` at a time,
    padded to a multiple of `bucket_seconds`.
    """

    device: Literal["cpu", "cuda"]
    least: int
    most: int
    cpus: float
    gpus: float
    units: int
    batch_size: int
    bucket_seconds: float
    options: EncoderOptions

    @property
    def arithmetic(self) -> dict[str, Any]:
        """What decides the last bits of tokens, beside the recipe, for `CommitRecord`."""
        return {
            "device": self.device,
            "batch_size": self.batch_size,
            "bucket_seconds": self.bucket_seconds,
            "compiled": self.options.compiled,
        }

    def __str__(self) -> str:
        count = str(self.least) if self.least == self.most else f"{self.least} to {self.most}"
        share = f" with {self.gpus:g} GPU each" if self.device == "cuda" else ""
        compiled = "compiled" if self.options.compiled else "not compiled"
        return (
            f"actors: {count} on {self.device}{share}, {self.options.precision}, {compiled}, "
            f"batches of {self.batch_size} by {self.bucket_seconds:g} s, at most {self.units} "
            "units under way per actor"
        )


def offered() -> Offer:
    """What the cluster has that this process is in or will join; without one, this machine.

    Connects to a cluster that is there, but starts none. Raises RunError when RAY_ADDRESS cannot
    be reached.
    """
    if not ray.is_initialized() and not os.environ.get("RAY_ADDRESS"):
        gpus = float(torch.cuda.device_count()) if torch.cuda.is_available() else 0.0
        return Offer(float(len(os.sched_getaffinity(0))), gpus, gpus)
    ensure_ray()
    now = ray.cluster_resources()
    grown = state.get_max_resources_from_cluster_config() or {}
    gpus = float(now.get("GPU", 0))
    return Offer(float(now.get("CPU", 1)), gpus, max(gpus, float(grown.get("GPU", 0))))


def plan_actors(config: EncodeConfig, offer: Offer, num_units: int) -> CodecActors:
    """The actors for `num_units` units. Raises UserError for `--device cuda` without a GPU."""
    if config.device == "cuda" and not offer.most_gpus:
        raise UserError(
            "--device cuda: the cluster offers no GPU to actors; start Ray on a machine with one "
            "(`ray status` lists them), or use --device cpu"
        )
    on_gpu = config.device == "cuda" or (config.device == "auto" and offer.most_gpus > 0)
    least, most = config.num_actors or _fitting(config, offer, on_gpu)
    most = max(1, min(most, num_units))
    compiled = config.compile == "on" or (
        config.compile == "auto" and on_gpu and config.codec in COMPILABLE
    )
    return CodecActors(
        device="cuda" if on_gpu else "cpu",
        least=min(least, most),
        most=most,
        cpus=config.threads_per_actor - TASK_CPUS,
        gpus=config.num_gpus_per_actor if on_gpu else 0.0,
        units=config.units_per_actor or (32 if on_gpu else 4),
        batch_size=config.batch_size or (32 if on_gpu else 1),
        bucket_seconds=config.bucket_seconds or (_longest_segment(config) if on_gpu else 1.0),
        options=EncoderOptions(config.precision, compiled),
    )


def _longest_segment(config: EncodeConfig) -> float:
    seconds = config.resolved().segment_seconds
    assert seconds is not None
    return seconds


def _fitting(config: EncodeConfig, offer: Offer, on_gpu: bool) -> tuple[int, int]:
    """Actors that fit the cluster as it is, and as it may become."""
    if not on_gpu:
        fitting = max(1, int(offer.cpus) // config.threads_per_actor)
        return fitting, fitting
    per_gpu = int(1 / config.num_gpus_per_actor)
    return max(1, int(offer.gpus) * per_gpu), int(offer.most_gpus) * per_gpu
