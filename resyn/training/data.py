"""The stream of micro-batches that a rank trains on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from resyn.config.train import BatchSettings, TrainConfig
from resyn.data.collate import audio_batch, latent_batch
from resyn.data.disk_cache import DiskCache, default_folder
from resyn.data.sampler import Crop, CropSampler, hold_out, take_share
from resyn.data.shards import ShardReader
from resyn.errors import UserError
from resyn.randomness import derive_seed
from resyn.storage import open_storage
from resyn.types import AudioBatch, LatentBatch, LatentSpace

#: Share of the segments kept from training to validate on, and the most of them: one crop is
#: taken of each, so more would be withheld in vain.
VALIDATION_SHARE = 0.02
VALIDATION_CROPS = 16

#: Segments whose codes stand in for z where the shards carry none.
STATISTICS_SEGMENTS = 256


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """A batch, one seed per item and, where ranks have unequal shares, one weight per item (B,)."""

    batch: LatentBatch | AudioBatch
    seeds: list[int]
    weights: Tensor | None = None


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How a global batch of `items` crops is divided: `world` ranks, `accumulation` passes each.

    Every pass has `micro` places, so that shapes never change. Where world · accumulation · micro
    exceeds `items`, the places left over repeat an item with weight 0, and all others weigh
    places / items: the mean over places, passes and ranks is the mean over the items.
    """

    items: int
    micro: int
    accumulation: int
    world: int

    @classmethod
    def divide(cls, settings: BatchSettings, world_size: int) -> BatchPlan:
        """As few passes of at most `micro_batch` as will do, then as few places.

        Raises UserError when there are more ranks than crops.
        """
        items = max(1, round(settings.batch_seconds / settings.crop_seconds))
        if items < world_size:
            raise UserError(
                f"batch.batch_seconds: {items} crops of {settings.crop_seconds:g} s are too few "
                f"for {world_size} workers; raise it, or lower batch.crop_seconds or --num-workers"
            )
        share = -(-items // world_size)
        accumulation = -(-share // settings.micro_limit)
        return cls(items, -(-share // accumulation), accumulation, world_size)

    def passes(self, rank: int) -> list[list[int]]:
        """Which of the batch's items each pass of `rank` holds; ranks differ by one at most."""
        first = self.items * rank // self.world
        count = self.items * (rank + 1) // self.world - first
        ends = [first + count * part // self.accumulation for part in range(self.accumulation + 1)]
        return [list(range(a, b)) for a, b in pairwise(ends)]

    @property
    def places(self) -> int:
        """Items of all passes of all ranks, repeated ones included."""
        return self.world * self.accumulation * self.micro


class TrainingData:
    """Crops of a shard set for one method, deterministic in (seed, example)."""

    def __init__(self, config: TrainConfig, reader: ShardReader) -> None:
        self.reader = reader
        self.seed = config.seed
        spec, segments = reader.spec, reader.segments
        self.frames = max(1, round(config.batch.crop_seconds * spec.frame_rate))
        self.waveforms = "audio" in config.typed_method.columns
        self.space = None if self.waveforms else latent_space(reader)
        kept, self.held = hold_out(
            segments.utt_ids, VALIDATION_SHARE, VALIDATION_CROPS, config.seed
        )
        # Validation and the statistics of z stay those of all data, so that subsets compare.
        self.kept = np.array(take_share(kept, segments.num_frames, config.subset, config.seed))
        window = config.batch.shuffle_window
        # One more is being opened, and one is still in use by the step before.
        reader.keep_in_memory(window + 2)
        self.sampler = CropSampler(
            segments.num_frames[self.kept],
            self.frames,
            config.seed,
            segments.shards[self.kept],
            window,
        )

    def _load(self, crops: list[Crop]) -> LatentBatch | AudioBatch:
        if self.space is None:
            return audio_batch(self.reader, crops, self.frames)
        return latent_batch(self.reader, crops, self.frames, self.space)

    def step(self, step: int, plan: BatchPlan, rank: int) -> list[MicroBatch]:
        """The micro-batches of `rank` at `step`: of examples [step · items, (step + 1) · items).

        Safe to call from several threads.
        """
        first = step * plan.items
        return [
            self._micro_batch([first + item for item in items], plan, first + plan.items - 1)
            for items in plan.passes(rank)
        ]

    def _micro_batch(self, examples: list[int], plan: BatchPlan, spare: int) -> MicroBatch:
        """A batch of `plan.micro` places: `examples`, and then `spare` with weight 0."""
        missing = plan.micro - len(examples)
        drawn = [self.sampler.crop(example) for example in [*examples, *[spare] * missing]]
        crops = [Crop(c.example, int(self.kept[c.segment]), c.start) for c in drawn]
        seeds = [derive_seed(self.seed, "example", crop.example) for crop in crops]
        weights = None
        if plan.places > plan.items:
            weights = torch.zeros(plan.micro)
            weights[: len(examples)] = plan.places / plan.items
        return MicroBatch(self._load(crops), seeds, weights)

    def utt_ids(self, step: int, plan: BatchPlan) -> list[str]:
        """The segments of all ranks' examples at `step`, in order."""
        examples = range(step * plan.items, (step + 1) * plan.items)
        segments = [self.kept[self.sampler.crop(example).segment] for example in examples]
        return [self.reader.segments[index].utt_id for index in segments]

    def validation(self) -> MicroBatch | None:
        """The first frames of every held-out segment; None when there is none."""
        if not self.held:
            return None
        crops = [Crop(number, segment, 0) for number, segment in enumerate(self.held)]
        return MicroBatch(self._load(crops), [derive_seed("validation", c.example) for c in crops])


def open_shards(config: TrainConfig) -> ShardReader:
    """The run's data set; what lies in an object store is kept on disk as `run.cache_*` say."""
    run = config.run
    if run.cache_gb == 0 or open_storage(config.shards).is_local:
        return ShardReader(config.shards)
    disk = DiskCache(run.cache_dir or default_folder(), round(run.cache_gb * 1e9))
    return ShardReader(config.shards, disk=disk)


def latent_space(reader: ShardReader) -> LatentSpace:
    """The codec's codebooks, with the mean and spread of z over all shards.

    Shards of codes alone, which is all that coarse-to-fine needs, have no z: there the sum of all
    levels stands in, over up to `STATISTICS_SEGMENTS` segments.
    """
    if "z" in reader.columns:
        mean, std = reader.latent_statistics()
        return LatentSpace(reader.codebooks, mean, std.clamp_min(1e-5))
    books = reader.codebooks
    plain = LatentSpace(books, torch.zeros(books.shape[-1]), torch.ones(books.shape[-1]))
    rows = []
    for index in range(min(len(reader), STATISTICS_SEGMENTS)):
        codes = reader.read(index, ["codes"]).codes
        assert codes is not None
        rows.append(plain.embed(torch.from_numpy(codes.astype("int64"))[None])[0])
    frames = torch.cat(rows)
    return LatentSpace(books, frames.mean(0), frames.std(0).clamp_min(1e-5))


def to_device(batch: LatentBatch | AudioBatch, device: torch.device) -> LatentBatch | AudioBatch:
    """The batch with its tensors on `device`."""
    if isinstance(batch, AudioBatch):
        return AudioBatch(batch.audio.to(device))
    mask = None if batch.mask is None else batch.mask.to(device)
    return LatentBatch(batch.z.to(device), batch.codes.to(device), batch.space.to(device), mask)
