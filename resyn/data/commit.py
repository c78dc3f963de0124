"""Last step of a work unit: write its shard, and then the record that makes it count."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resyn.codec.base import CodecSpec
from resyn.data.ledger import (
    CommitRecord,
    check_same,
    read_record,
    record_file,
    shard_file,
    write_record,
)
from resyn.data.quarantine import Refusal, count_codes, unit_file, write_refusals
from resyn.data.schema import DEFAULT_PRECISION, PAYLOADS, shard_schema, unpack_latents
from resyn.errors import RunError
from resyn.storage import Storage
from resyn.storage_faults import explained

#: Row groups of about this many bytes serve range reads from an object store.
ROW_GROUP_BYTES = 8 * 2**20


def commit_unit(
    output: Storage,
    unit: int,
    table: pa.Table,
    spec: CodecSpec,
    columns: Collection[str],
    precision: str = DEFAULT_PRECISION,
    arithmetic: Mapping[str, Any] | None = None,
) -> CommitRecord:
    """Commit an encoded unit: shard, then quarantine, then the record. Idempotent.

    `arithmetic` is for the record, which explains it. Raises RunError when the unit is committed
    with other bytes, or when a file cannot be written.
    """
    schema = shard_schema(spec, columns, precision)
    with explained(f"{output.uri}/{shard_file(unit)}"):
        return _commit(output, unit, table, spec, schema, dict(arithmetic or {}))


def _commit(
    output: Storage,
    unit: int,
    table: pa.Table,
    spec: CodecSpec,
    schema: pa.Schema,
    arithmetic: dict[str, Any],
) -> CommitRecord:
    kept = table.filter(table["fault_code"].is_null())
    refusals = _refusals(table.filter(table["fault_code"].is_valid()))
    columns = schema.names
    shard = _parquet(kept.select(schema.names), schema)
    frames = sum(kept["num_frames"].to_pylist())
    total, squares = _latent_sums(kept, spec.dim) if "z" in columns else ([], [])
    record = CommitRecord(
        unit=unit,
        shard=shard_file(unit),
        sha256=hashlib.sha256(shard).hexdigest(),
        bytes=len(shard),
        rows=kept.num_rows,
        seconds=_seconds(kept),
        frames=frames,
        tokens=frames * spec.num_codebooks if "codes" in columns else 0,
        quarantine=count_codes(refusals),
        latent_sum=total,
        latent_sum_squares=squares,
        arithmetic=arithmetic,
    )
    if check_same(output, record):
        return record
    output.write_bytes(record.shard, shard)
    if refusals:
        write_refusals(output, unit_file(unit), refusals)
    try:
        write_record(output, record)
    except RunError:
        _check_shard(output, read_record(output, unit))
        raise
    return record


def _check_shard(output: Storage, winner: CommitRecord) -> None:
    """Raises RunError when the shard of a unit that another run committed is not that run's.

    Between this run's look at the ledger and its write, the other may have done all of its own.
    """
    if hashlib.sha256(output.read_bytes(winner.shard)).hexdigest() != winner.sha256:
        raise RunError(
            f"{output.uri}/{winner.shard}: written by this run over the one that another run has "
            f"committed; delete {record_file(winner.unit)} there and run the same command again"
        )


def _refusals(table: pa.Table) -> list[Refusal]:
    names = ["source_uri", "utt_id", "fault_code", "fault_detail"]
    return [Refusal(*row.values()) for row in table.select(names).to_pylist()]


def _seconds(table: pa.Table) -> float:
    lengths = zip(table["num_samples"].to_pylist(), table["sample_rate"].to_pylist(), strict=True)
    return float(sum(samples / rate for samples, rate in lengths))


def _parquet(table: pa.Table, schema: pa.Schema) -> bytes:
    """Row groups of bounded bytes, payloads as they are.

    z and FLAC hardly compress. zstd would save a quarter of the codes' bytes, but decompressing
    takes several times as long as reading them (tests/bench/read_shards.py).
    """
    buffer = io.BytesIO()
    payloads = [name for name in PAYLOADS if name in schema.names]
    settings: dict[str, Any] = {
        "compression": {name: "none" if name in payloads else "zstd" for name in schema.names},
        "use_dictionary": [name for name in schema.names if name not in payloads],
    }
    with pq.ParquetWriter(buffer, schema, write_page_checksum=True, **settings) as writer:
        for first, length in _row_groups(table, payloads):
            writer.write_table(table.slice(first, length).cast(schema), row_group_size=length)
    return buffer.getvalue()


def _row_groups(table: pa.Table, payloads: list[str]) -> list[tuple[int, int]]:
    """(first row, rows) of each group."""
    sizes = np.zeros(table.num_rows, np.int64)
    for name in payloads:
        sizes += pc.call_function("binary_length", [table[name]]).to_numpy()
    group = np.cumsum(sizes) // ROW_GROUP_BYTES
    _, firsts, counts = np.unique(group, return_index=True, return_counts=True)
    return list(zip(firsts.tolist(), counts.tolist(), strict=True))


def _latent_sums(table: pa.Table, dim: int) -> tuple[list[float], list[float]]:
    """Sum and sum of squares of the stored z over all frames, by channel, in float64."""
    total, squares = np.zeros(dim), np.zeros(dim)
    for cell in table["z"]:
        z = unpack_latents(cell.as_buffer(), dim).astype(np.float64)
        total += z.sum(axis=0)
        squares += (z * z).sum(axis=0)
    return total.tolist(), squares.tolist()
