"""Reading committed shards."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import IO, overload

import numpy as np
import pyarrow as pa
import safetensors.torch
import torch
from torch import Tensor

from resyn.audio.stream import AudioStream
from resyn.codec.base import CodecSpec
from resyn.data.agreement import check_agreement
from resyn.data.damage import damage
from resyn.data.disk_cache import DiskCache
from resyn.data.job import CODEBOOKS_FILE
from resyn.data.ledger import CommitRecord, read_records, record_file
from resyn.data.row_groups import RowGroupCache
from resyn.data.schema import PAYLOADS, read_spec, unpack_codes, unpack_latents
from resyn.errors import UserError
from resyn.storage import Storage, open_storage

#: A reader's memory, however large the shards.
MOST_CACHE_BYTES = 2 * 2**30


@dataclass(frozen=True, slots=True)
class Segment:
    """One row: `num_frames` T, and where it lies (`shard` index, `row` in that shard)."""

    utt_id: str
    speaker: str
    num_frames: int
    shard: int
    row: int


@dataclass(frozen=True, slots=True)
class SegmentData:
    """A segment's payloads, or those of a span of it; None for those not asked for.

    `codes` (K,T) uint16, `z` (T,D) float16, `audio` (S,) float32 at the codec's rate with
    (T-1) * hop < S <= T * hop.
    """

    codes: np.ndarray | None = None
    z: np.ndarray | None = None
    audio: np.ndarray | None = None


class SegmentTable(Sequence[Segment]):
    """All segments in manifest order, held as columns because there may be millions."""

    def __init__(self, tables: Sequence[pa.Table]) -> None:
        table = pa.concat_tables(tables)
        self.utt_ids: pa.ChunkedArray = table["utt_id"]
        """Ids of all segments, (N,) strings."""
        self._speakers = table["speaker"]
        self.num_frames: np.ndarray = table["num_frames"].to_numpy()
        """T of each segment, (N,) int32."""
        self.shards = np.repeat(np.arange(len(tables)), [t.num_rows for t in tables])
        """Shard index of each segment, (N,)."""
        self.rows = np.concatenate([np.arange(t.num_rows) for t in tables])
        """Row of each segment in its shard, (N,)."""

    def __len__(self) -> int:
        return len(self.num_frames)

    @overload
    def __getitem__(self, index: int) -> Segment: ...
    @overload
    def __getitem__(self, index: slice) -> list[Segment]: ...
    def __getitem__(self, index: int | slice) -> Segment | list[Segment]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        return Segment(
            self.utt_ids[index].as_py(),
            self._speakers[index].as_py(),
            int(self.num_frames[index]),
            int(self.shards[index]),
            int(self.rows[index]),
        )


class ShardReader:
    """Random access to the committed rows below `uri`.

    Reads the row group that holds a segment and keeps the latest `cache_bytes` of them; with `disk`
    payloads are read from whole shards kept there. Safe to use from several threads. Raises
    UserError when there is nothing committed, when a shard is missing or damaged, and when shards
    do not agree on their columns, their codec and its precision.
    """

    def __init__(
        self, uri: str, cache_bytes: int = 512 * 2**20, disk: DiskCache | None = None
    ) -> None:
        self.storage: Storage = open_storage(uri)
        if not self.storage.exists():
            raise UserError(f"--shards {uri}: no such folder; make it with pipelines/encode.py")
        self.records: list[CommitRecord] = [r for r in read_records(self.storage) if r.rows]
        if not self.records:
            raise UserError(
                f"--shards {uri}: holds no committed shards; run pipelines/encode.py to its end"
            )
        self._disk = None if self.storage.is_local else disk
        self._cache = RowGroupCache(self._open, cache_bytes)
        schemas, tables = self._read_heads()
        check_agreement(self.storage.uri, [record.shard for record in self.records], schemas)
        self.spec: CodecSpec = read_spec(schemas[0])
        self.columns: frozenset[str] = frozenset(PAYLOADS).intersection(schemas[0].names)
        self.segments = SegmentTable(tables)

    def keep_in_memory(self, shards: int) -> None:
        """Make the cache large enough for any `shards` shards, up to `MOST_CACHE_BYTES`."""
        largest = sorted((record.bytes for record in self.records), reverse=True)[:shards]
        room = min(sum(largest), MOST_CACHE_BYTES)
        self._cache.most_bytes = max(self._cache.most_bytes, room)

    def _open(self, shard: int) -> IO[bytes]:
        record = self.records[shard]
        if self._disk is None:
            return self.storage.open(record.shard)
        return self._disk.open(self.storage, record.shard, record.sha256, record.bytes)

    def _read_heads(self) -> tuple[list[pa.Schema], list[pa.Table]]:
        """Schema and labels of every shard: ranges of the store's files, however many are kept."""

        def read(shard: int) -> tuple[pa.Schema, pa.Table]:
            try:
                with self.storage.open(self.records[shard].shard) as source:
                    return self._cache.read_head(shard, ["utt_id", "speaker", "num_frames"], source)
            except Exception as error:
                raise self._explained(shard, error) from error

        with ThreadPoolExecutor(self.storage.at_once) as pool:
            heads = list(pool.map(read, range(len(self.records))))
        return [schema for schema, _ in heads], [table for _, table in heads]

    def __len__(self) -> int:
        return len(self.segments)

    @property
    def seconds(self) -> float:
        """Audio in the committed rows, in seconds."""
        return sum(record.seconds for record in self.records)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that name the content of all shards."""
        names = "".join(f"{record.unit}:{record.sha256}\n" for record in self.records)
        return hashlib.sha256(names.encode()).hexdigest()[:16]

    @cached_property
    def codebooks(self) -> Tensor:
        """The codec's codebooks, (K,V,D) float32, written by `encode` beside the shards."""
        stored = safetensors.torch.load(self.storage.read_bytes(CODEBOOKS_FILE))
        return stored["codebooks"]

    def require(self, *columns: str) -> None:
        """Raises UserError when the shards lack one of `columns`."""
        missing = [name for name in columns if name not in self.columns]
        if missing:
            raise UserError(
                f"--shards {self.storage.uri}: has no {' and no '.join(missing)} (only "
                f"{', '.join(sorted(self.columns))}); encode again with --columns "
                f"{','.join(name for name in PAYLOADS if name in {*self.columns, *missing})}"
            )

    def read(
        self, index: int, columns: Sequence[str], start: int = 0, frames: int | None = None
    ) -> SegmentData:
        """The payloads `columns` of segment `index`, or of `frames` frames of it from `start` on.

        A span that ends beyond the segment is cut there. Codes and z are views of what is in the
        cache; audio is decoded up to the span's end. Raises UserError for a column that is missing,
        and for a shard that is missing or damaged.
        """
        self.require(*columns)
        span = slice(start, None if frames is None else start + frames)
        shard, row = int(self.segments.shards[index]), int(self.segments.rows[index])
        try:
            cells = {name: self._cache.cell(shard, row, name) for name in columns}
        except Exception as error:
            raise self._explained(shard, error) from error
        codes, z, audio = (cells.get(name) for name in PAYLOADS)
        return SegmentData(
            codes=None if codes is None else unpack_codes(codes, self.spec.num_codebooks)[:, span],
            z=None if z is None else unpack_latents(z, self.spec.dim)[span],
            audio=None if audio is None else _decode_span(audio, span, self.spec.hop),
        )

    def latent_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of z by channel over all frames, (D,) float32 each.

        From the ledger's sums; reads no shard. Raises UserError when the shards have no z.
        """
        self.require("z")
        frames = sum(record.frames for record in self.records)
        total = np.sum([record.latent_sum for record in self.records], axis=0)
        squares = np.sum([record.latent_sum_squares for record in self.records], axis=0)
        mean = total / frames
        std = np.sqrt(np.maximum(squares / frames - mean**2, 0))
        return torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32)

    def _explained(self, shard: int, error: Exception) -> Exception:
        """UserError that names a shard which is missing or damaged; else `error` itself."""
        if (found := damage(error)) is None:
            return error
        record = self.records[shard]
        return UserError(
            f"{self.storage.uri}/{record.shard}: {found}; delete {record_file(record.unit)} there "
            "and run the same pipelines/encode.py again"
        )


def _decode_span(flac: bytes, frames: slice, hop: int) -> np.ndarray:
    """The samples of the frames `frames` of a FLAC file, (S,) float32."""
    with AudioStream.of(flac) as stream:
        total = stream.declared_samples
        assert total is not None, "encode_flac states the length"
        end = total if frames.stop is None else min(total, frames.stop * hop)
        start = min(end, frames.start * hop)
        stream.skip(start)
        return stream.read(end - start)
