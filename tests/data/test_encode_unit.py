"""A segment's tokens are a function of its own samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from resyn.audio.write import from_pcm16
from resyn.codec import Codec
from resyn.data.decode import decode_unit
from resyn.data.encode import BatchShape, encode_unit
from resyn.data.plan import PlanSettings, read_rows, read_units, write_plan
from resyn.data.schema import unpack_codes, unpack_latents
from resyn.storage import open_storage
from tests.requantise import requantised

COLUMNS = ("codes", "z")


@pytest.fixture(scope="module")
def decoded(
    tmp_path_factory: pytest.TempPathFactory, make_librilight: Callable[..., Path]
) -> pa.Table:
    """Five segments of 0.5 to 1 s in one unit."""
    folder = tmp_path_factory.mktemp("decoded")
    root = make_librilight(folder / "tree", seconds=(1.0, 1.5, 1.8))
    source, output = open_storage(str(root)), open_storage(str(folder / "out"))
    write_plan(source, output, PlanSettings("folder", 1.0, 30.0))
    (unit,) = read_units(output)
    return decode_unit(source, read_rows(output, unit), 24_000, with_audio=False)


def tokens(codec: Codec, table: pa.Table, batch_size: int) -> dict[str, tuple[bytes, bytes]]:
    made = encode_unit(codec, table, COLUMNS, BatchShape(batch_size, 0.5)).to_pylist()
    return {row["utt_id"]: (row["codes"], row["z"]) for row in made}


@pytest.mark.parametrize("batch_size", [1, 3])
def test_neighbours_and_order_leave_no_trace(
    codec: Codec, decoded: pa.Table, batch_size: int
) -> None:
    reference = tokens(codec, decoded, batch_size)
    assert len(reference) == 5
    backwards = tokens(codec, decoded.take([4, 3, 2, 1, 0]), batch_size)
    assert backwards == reference
    for index in (0, 3):
        alone = tokens(codec, decoded.slice(index, 1), batch_size)
        assert alone.items() <= reference.items()


def test_batch_sizes_agree(codec: Codec, decoded: pa.Table) -> None:
    one, three = tokens(codec, decoded, 1), tokens(codec, decoded, 3)
    pairs = [(unpack_codes(one[u][0], 8), unpack_codes(three[u][0], 8)) for u in one]
    assert np.mean([np.mean(a == b) for a, b in pairs]) >= 0.9999


def test_padding_is_exact(codec: Codec, decoded: pa.Table) -> None:
    """The bucket's padding and the codec on the bare segment give the same codes."""
    row = decoded.to_pylist()[2]
    pcm = from_pcm16(np.frombuffer(row["pcm"], np.int16))
    assert len(pcm) % (24_000 // 2)
    bare = np.zeros(codec.spec.num_frames(len(pcm)) * codec.spec.hop, np.float32)
    bare[: len(pcm)] = pcm
    frames = codec.encode(torch.from_numpy(bare)[None, None])
    codes, z = tokens(codec, decoded, 1)[row["utt_id"]]
    np.testing.assert_array_equal(unpack_codes(codes, 8), frames.codes[0].numpy())
    np.testing.assert_allclose(unpack_latents(z, 128), frames.z[0].numpy(), rtol=1e-3, atol=1e-3)
    exact = frames.z[0].numpy()
    error = np.linalg.norm(unpack_latents(z, 128).astype(np.float32) - exact)
    assert error <= 2.0**-11 * np.linalg.norm(exact), "of float16"


def test_stored_z_gives_nearly_all_codes_again(codec: Codec, decoded: pa.Table) -> None:
    """float16 rounds z to 2^-11 of it at most; 99.8 % of all codes do not notice."""
    same: list[np.ndarray] = []
    for codes, z in tokens(codec, decoded, 1).values():
        stored = torch.from_numpy(unpack_latents(z, 128).astype(np.float32))
        exact = unpack_codes(codes, 8)
        same.append((requantised(stored, codec.codebooks).numpy() == exact).ravel())
    assert np.concatenate(same).mean() >= 0.995


def test_one_bucket_for_all_lengths_fills_its_batches(
    codec: Codec, decoded: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: five segments are two batches of three, with the codes of small buckets."""
    plain, met = codec.encode, list[tuple[int, ...]]()

    def counted(audio: torch.Tensor) -> object:
        met.append(tuple(audio.shape))
        return plain(audio)

    monkeypatch.setattr(codec, "encode", counted)
    made = encode_unit(codec, decoded, ("codes",), BatchShape(3, 1.0))["codes"].to_pylist()
    assert met == [(3, 1, 24_000)] * 2
    small = [codes for codes, _ in tokens(codec, decoded, 1).values()]
    pairs = [(unpack_codes(a, 8), unpack_codes(b, 8)) for a, b in zip(made, small, strict=True)]
    assert np.mean([np.mean(a == b) for a, b in pairs]) >= 0.9999


def test_only_the_columns_asked_for(codec: Codec, decoded: pa.Table) -> None:
    made = encode_unit(codec, decoded.slice(0, 1), ("codes",), BatchShape(1, 0.5))
    assert made["z"].null_count == 1
    assert made["codes"].null_count == 0
    assert "pcm" not in made.column_names
