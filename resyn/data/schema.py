"""Arrow schemas of everything written, and the packing of tokens into plain binary columns."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa

import resyn
from resyn.codec.base import CodecSpec

SCHEMA_VERSION = 1
#: What a shard may carry for each segment.
PAYLOADS = ("codes", "z", "audio")
#: The key of resyn's own entry in a shard's file metadata.
METADATA_KEY = b"resyn"
#: Precision of the encoder's network in shards that do not name one.
DEFAULT_PRECISION = "fp32"

MANIFEST = pa.schema(
    [
        ("utt_id", pa.string()),
        ("source_uri", pa.string()),
        ("source_format", pa.string()),
        ("source_etag", pa.string()),
        ("start", pa.int64()),
        ("num_samples", pa.int64()),
        ("sample_rate", pa.int32()),
        ("speaker", pa.string()),
        ("book", pa.string()),
        ("text", pa.string()),
        ("split", pa.string()),
        ("source_size", pa.int64()),
        ("container", pa.string()),
        ("position", pa.int64()),
        ("spans", pa.list_(pa.struct([("start", pa.int64()), ("num_samples", pa.int64())]))),
    ]
)
UNITS = pa.schema(
    [
        ("unit", pa.int32()),
        ("first_row", pa.int64()),
        ("num_rows", pa.int32()),
        ("seconds", pa.float64()),
    ]
)
QUARANTINE = pa.schema([(name, pa.string()) for name in ("source_uri", "utt_id", "code", "detail")])


def shard_schema(
    spec: CodecSpec, columns: Collection[str], precision: str = DEFAULT_PRECISION
) -> pa.Schema:
    """The manifest's columns, `clipped`, `silent`, `num_frames`, and payloads as plain binary.

    `clipped` is the share of the source's samples at full scale or beyond; `silent` marks a segment
    whose every 16-bit sample is zero. Both are kept, and for the reader to judge.
    `codes` is (K,T) little-endian uint16, `z` (T,D) little-endian float16, both in C order;
    `audio` is a FLAC file at the codec's rate. The metadata names codec and `precision`.
    """
    payloads = [pa.field(name, pa.binary()) for name in PAYLOADS if name in columns]
    found = [("clipped", pa.float32()), ("silent", pa.bool_()), ("num_frames", pa.int32())]
    fields = [*MANIFEST, *(pa.field(*column) for column in found), *payloads]
    entry = {
        "schema_version": SCHEMA_VERSION,
        "resyn_version": resyn.__version__,
        "codec": spec.to_dict(),
        "precision": precision,
        "bandwidth_kbps": spec.bandwidth_kbps,
    }
    return pa.schema(fields, metadata={METADATA_KEY: json.dumps(entry, sort_keys=True)})


def read_spec(schema: pa.Schema) -> CodecSpec:
    """The codec named in a shard's metadata. Raises ValueError for a file that is no shard."""
    return CodecSpec(**_entry(schema)["codec"])


def read_precision(schema: pa.Schema) -> str:
    """The precision named in a shard's metadata. Raises ValueError for a file that is no shard."""
    return _entry(schema).get("precision", DEFAULT_PRECISION)


def _entry(schema: pa.Schema) -> dict[str, Any]:
    entry = (schema.metadata or {}).get(METADATA_KEY)
    if entry is None:
        raise ValueError("the file metadata has no 'resyn' entry")
    tree = json.loads(entry)
    if tree["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema version {tree['schema_version']}, not {SCHEMA_VERSION}")
    return tree


def pack_codes(codes: np.ndarray) -> bytes:
    """(K,T) integers below 65,536 to bytes."""
    return np.ascontiguousarray(codes, dtype="<u2").tobytes()


def unpack_codes(data: bytes, num_codebooks: int) -> np.ndarray:
    """Bytes to (K,T) uint16."""
    return np.frombuffer(data, "<u2").reshape(num_codebooks, -1)


def pack_latents(z: np.ndarray) -> bytes:
    """(T,D) float to bytes, rounded to float16."""
    return np.ascontiguousarray(z, dtype="<f2").tobytes()


def unpack_latents(data: bytes, dim: int) -> np.ndarray:
    """Bytes to (T,D) float16."""
    return np.frombuffer(data, "<f2").reshape(-1, dim)
