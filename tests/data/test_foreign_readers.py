"""Shards open in other people's readers: DuckDB, Polars, and Arrow's datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars
import pyarrow.dataset as ds
import pytest

from resyn.data.shards import ShardReader

WANTED = ["utt_id", "num_frames", "silent", "clipped", "codes", "z", "audio"]
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def shards(encoded: Path) -> str:
    """Every shard of an output, for readers that take a pattern."""
    return str(encoded / "out" / "shards" / "*.parquet")


@pytest.fixture(scope="module")
def expected(encoded: Path) -> Rows:
    """What our own reader says of every segment."""
    reader = ShardReader(str(encoded / "out"))
    data = [reader.read(index, ["codes", "z"]) for index in range(len(reader))]
    return [
        {"utt_id": segment.utt_id, "num_frames": segment.num_frames, "codes": d.codes, "z": d.z}
        for segment, d in zip(reader.segments, data, strict=True)
    ]


def assert_equal(rows: Rows, expected: Rows) -> None:
    """Tokens by numpy alone, as the README shows."""
    assert [row["utt_id"] for row in rows] == [row["utt_id"] for row in expected]
    for row, known in zip(rows, expected, strict=True):
        assert (row["num_frames"], row["silent"]) == (known["num_frames"], False)
        assert row["clipped"] == 0.0
        codes = np.frombuffer(row["codes"], "<u2").reshape(8, -1)
        np.testing.assert_array_equal(codes, known["codes"])
        z = np.frombuffer(row["z"], "<f2").reshape(-1, 128)
        np.testing.assert_array_equal(z, known["z"])
        assert row["audio"][:4] == b"fLaC"


def test_duckdb(shards: str, expected: Rows) -> None:
    table = f"read_parquet('{shards}')"
    rows = duckdb.execute(f"SELECT {', '.join(WANTED)} FROM {table}").fetchall()
    assert_equal([dict(zip(WANTED, row, strict=True)) for row in rows], expected)
    counts = "count(*), sum(num_frames), sum(octet_length(codes)) // 16, max(list_count(spans))"
    frames = sum(row["num_frames"] for row in expected)
    assert duckdb.execute(f"SELECT {counts} FROM {table}").fetchall() == [
        (len(expected), frames, frames, None)
    ]


def test_polars(shards: str, expected: Rows) -> None:
    table = polars.scan_parquet(shards)
    assert_equal(table.select(WANTED).collect().to_dicts(), expected)
    length = polars.col("codes").bin.size() // 16
    assert table.filter(length != polars.col("num_frames")).collect().is_empty()


def test_a_stream_of_arrow_batches(shards: str, expected: Rows) -> None:
    """As Hugging Face's `datasets` reads: the schema alone tells the types of the columns."""
    table = ds.dataset(Path(shards).parent, format="parquet")
    batches = table.scanner(columns=WANTED, batch_size=2).to_batches()
    lengths, rows = zip(*((batch.num_rows, batch.to_pylist()) for batch in batches), strict=True)
    assert max(lengths) == 2
    assert_equal([row for some in rows for row in some], expected)
    assert set(table.schema.metadata) == {b"resyn"}
    assert not any(field.metadata for field in table.schema)
