"""The stream of micro-batches that a rank trains on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch

from resyn.config.train import BatchSettings, TrainConfig
from resyn.data.collate import audio_batch, latent_batch
from resyn.data.sampler import Crop, CropSampler, hold_out
from resyn.data.shards import ShardReader
from resyn.errors import UserError
from resyn.randomness import derive_seed
from resyn.types import AudioBatch, LatentBatch, LatentSpace

T = TypeVar("T")

#: Share of the segments kept from training to validate on, and the most crops taken from them.
VALIDATION_SHARE = 0.02
VALIDATION_CROPS = 16

#: Segments whose codes stand in for z where the shards carry none.
STATISTICS_SEGMENTS = 256


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """A batch and one seed per item."""

    batch: LatentBatch | AudioBatch
    seeds: list[int]


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How a global batch of `items` crops is divided: items = world × accumulation × micro."""

    items: int
    micro: int
    accumulation: int

    @classmethod
    def divide(cls, settings: BatchSettings, world_size: int) -> BatchPlan:
        """The largest micro-batch up to `micro_batch` that divides a rank's share.

        Raises UserError when the ranks cannot share the batch equally.
        """
        items = max(1, round(settings.batch_seconds / settings.crop_seconds))
        if items % world_size:
            raise UserError(
                f"batch.batch_seconds: {items} crops of {settings.crop_seconds:g} s cannot be "
                f"shared by {world_size} workers; choose a multiple of {world_size} crops"
            )
        share = items // world_size
        micro = max(n for n in range(1, min(settings.micro_limit, share) + 1) if share % n == 0)
        return cls(items, micro, share // micro)


class TrainingData:
    """Crops of a shard set for one method, deterministic in (seed, example)."""

    def __init__(self, config: TrainConfig, reader: ShardReader) -> None:
        self.reader = reader
        self.seed = config.seed
        spec = reader.spec
        self.frames = max(1, round(config.batch.crop_seconds * spec.frame_rate))
        self.waveforms = "audio" in config.typed_method.columns
        self.space = None if self.waveforms else latent_space(reader)
        ids = [segment.utt_id for segment in reader.segments]
        self.kept, self.held = hold_out(ids, VALIDATION_SHARE, config.seed)
        lengths = [reader.segments[index].num_frames for index in self.kept]
        self.sampler = CropSampler(lengths, self.frames, config.seed)

    def _load(self, crops: list[Crop]) -> LatentBatch | AudioBatch:
        if self.space is None:
            return audio_batch(self.reader, crops, self.frames)
        return latent_batch(self.reader, crops, self.frames, self.space)

    def step(self, step: int, plan: BatchPlan, rank: int) -> list[MicroBatch]:
        """The micro-batches of `rank` at `step`: examples [step · items, (step + 1) · items)."""
        share = plan.micro * plan.accumulation
        first = step * plan.items + rank * share
        batches = []
        for start in range(first, first + share, plan.micro):
            drawn = [self.sampler.crop(example) for example in range(start, start + plan.micro)]
            crops = [Crop(c.example, self.kept[c.segment], c.start) for c in drawn]
            seeds = [derive_seed(self.seed, "example", crop.example) for crop in crops]
            batches.append(MicroBatch(self._load(crops), seeds))
        return batches

    def validation(self) -> MicroBatch | None:
        """The first frames of up to sixteen held-out segments; None when there is none."""
        held = self.held[:VALIDATION_CROPS]
        if not held:
            return None
        crops = [Crop(number, segment, 0) for number, segment in enumerate(held)]
        return MicroBatch(self._load(crops), [derive_seed("validation", c.example) for c in crops])


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


def prefetch(items: Iterable[T], depth: int = 2) -> Iterator[T]:
    """Iterate `items` from a thread of its own, `depth` ahead; its exceptions are raised here."""
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def put(entry: tuple[T | None, BaseException | None]) -> bool:
        while not stop.is_set():
            try:
                ready.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((None, StopIteration()))
        except BaseException as error:
            put((None, error))

    threading.Thread(target=produce, daemon=True).start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            assert item is not None
            yield item
    finally:
        stop.set()


def to_device(batch: LatentBatch | AudioBatch, device: torch.device) -> LatentBatch | AudioBatch:
    """The batch with its tensors on `device`."""
    if isinstance(batch, AudioBatch):
        return AudioBatch(batch.audio.to(device))
    mask = None if batch.mask is None else batch.mask.to(device)
    return LatentBatch(batch.z.to(device), batch.codes.to(device), batch.space.to(device), mask)
