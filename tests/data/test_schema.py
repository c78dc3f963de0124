"""Packing is exact, and a shard says what made it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from resyn.codec.base import CodecSpec
from resyn.data.schema import (
    pack_codes,
    pack_latents,
    read_precision,
    read_spec,
    shard_schema,
    unpack_codes,
    unpack_latents,
)

SPEC = CodecSpec("toy", "ab" * 32, 24_000, 320, 16, 8, 1024)


def test_codes_come_back() -> None:
    codes = np.random.default_rng(0).integers(0, 2**16, (8, 75))
    packed = pack_codes(codes)
    assert packed == codes.astype("<u2").tobytes(order="C")
    np.testing.assert_array_equal(unpack_codes(packed, 8), codes)


def test_latents_come_back_as_float16() -> None:
    z = np.random.default_rng(0).standard_normal((75, 16)).astype(np.float32)
    np.testing.assert_array_equal(unpack_latents(pack_latents(z), 16), z.astype(np.float16))


def test_rounding_to_float16_costs_half_a_unit_in_the_last_place() -> None:
    """11 significant bits: |error| <= |z| / 2^11, and 2^-25 where z is below 2^-14."""
    z = np.random.default_rng(1).standard_normal((500, 16)).astype(np.float32)
    z = np.concatenate([z, 1e4 * z, 1e-6 * z])
    error = np.abs(unpack_latents(pack_latents(z), 16).astype(np.float64) - z)
    assert np.all(error <= np.maximum(np.abs(z) / 2**11, 2.0**-25))
    assert error.max() > 0


def test_the_schema_is_plain_and_names_the_codec() -> None:
    schema = shard_schema(SPEC, ("codes", "audio"))
    assert read_spec(schema) == SPEC
    assert read_precision(schema) == "fp32"
    assert read_precision(shard_schema(SPEC, ("codes",), "bf16")) == "bf16"
    assert schema.names[-5:] == ["clipped", "silent", "num_frames", "codes", "audio"]
    span = pa.struct([("start", pa.int64()), ("num_samples", pa.int64())])
    plain = {pa.string(), pa.int32(), pa.int64(), pa.float32(), pa.binary(), pa.bool_()}
    assert {field.type for field in schema} <= plain | {pa.list_(span)}
    with pytest.raises(ValueError, match="no 'resyn' entry"):
        read_spec(pa.schema([]))
