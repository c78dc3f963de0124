"""Reading: only what is committed, of one codec, any segment in any order."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from resyn.codec import Codec
from resyn.data import commit
from resyn.data.job import Job
from resyn.data.shards import ShardReader
from resyn.errors import UserError

Encode = Callable[..., Job]

README = Path(__file__).parents[2] / "README.md"
EXAMPLE = Path(__file__).with_name("read_a_shard.py")


@pytest.fixture(scope="module")
def reader(encoded: Path) -> ShardReader:
    return ShardReader(str(encoded / "out"))


def test_it_knows_what_it_reads(reader: ShardReader, codec: Codec) -> None:
    assert len(reader) == 7
    assert reader.seconds == pytest.approx(6.2)
    assert reader.spec == codec.spec
    assert reader.columns == {"codes", "z", "audio"}
    assert torch.equal(reader.codebooks, codec.codebooks)
    assert {segment.speaker for segment in reader.segments} == {"100", "101"}
    assert len({segment.utt_id for segment in reader.segments}) == 7


def test_payloads_fit_together(reader: ShardReader, codec: Codec) -> None:
    """The stored audio, encoded again, gives the stored codes."""
    for index in (6, 0, 3):
        segment = reader.segments[index]
        data = reader.read(index, ["codes", "z", "audio"])
        assert data.codes is not None
        assert data.z is not None
        assert data.audio is not None
        assert data.codes.shape == (8, segment.num_frames)
        assert data.z.shape == (segment.num_frames, 128)
        assert (data.codes.dtype, data.z.dtype) == (np.uint16, np.float16)
        assert -(-len(data.audio) // 320) == segment.num_frames
        padded = np.zeros(segment.num_frames * 320, np.float32)
        padded[: len(data.audio)] = data.audio
        frames = codec.encode(torch.from_numpy(padded)[None, None])
        np.testing.assert_array_equal(frames.codes[0].numpy(), data.codes)


@pytest.mark.parametrize(("start", "frames"), [(0, 10), (7, 30), (60, 40), (5, None), (900, 3)])
def test_a_span_is_a_slice_of_the_segment(
    reader: ShardReader, start: int, frames: int | None
) -> None:
    columns = ["codes", "z", "audio"]
    whole, part = reader.read(4, columns), reader.read(4, columns, start, frames)
    stop = None if frames is None else start + frames
    np.testing.assert_array_equal(part.codes, whole.codes[:, start:stop])  # pyright: ignore
    np.testing.assert_array_equal(part.z, whole.z[start:stop])  # pyright: ignore
    samples = slice(start * 320, None if stop is None else stop * 320)
    np.testing.assert_array_equal(part.audio, whole.audio[samples])  # pyright: ignore


def test_columns_not_asked_for_are_none(reader: ShardReader) -> None:
    data = reader.read(2, ["codes"])
    assert data.codes is not None
    assert data.z is None
    assert data.audio is None


def test_statistics_equal_those_of_all_frames(reader: ShardReader) -> None:
    z = np.concatenate([reader.read(i, ["z"]).z for i in range(len(reader))]).astype(np.float64)  # pyright: ignore
    mean, std = reader.latent_statistics()
    np.testing.assert_allclose(mean.numpy(), z.mean(0), atol=1e-6)
    np.testing.assert_allclose(std.numpy(), z.std(0), rtol=1e-5, atol=1e-6)
    assert mean.dtype == torch.float32


def test_small_row_groups_and_a_small_cache_change_nothing(
    encoded: Path,
    tmp_path: Path,
    encode: Encode,
    codec: Codec,
    reader: ShardReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(commit, "ROW_GROUP_BYTES", 1)
    encode(encoded / "tree", tmp_path / "out", codec, ("codes", "z", "audio"))
    assert pq.ParquetFile(tmp_path / "out/shards/000000.parquet").num_row_groups > 1
    small = ShardReader(str(tmp_path / "out"), cache_bytes=1)
    for index in range(len(reader)):
        np.testing.assert_array_equal(
            small.read(index, ["codes"]).codes, reader.read(index, ["codes"]).codes
        )
    assert small.fingerprint != reader.fingerprint


def test_what_is_not_committed_does_not_exist(encoded: Path, tmp_path: Path) -> None:
    shutil.copytree(encoded / "out", tmp_path / "out")
    whole = ShardReader(str(tmp_path / "out"))
    (tmp_path / "out" / "ledger" / "000000.json").unlink()
    part = ShardReader(str(tmp_path / "out"))
    assert len(part) < len(whole)
    assert part.fingerprint != whole.fingerprint
    for record in (tmp_path / "out" / "ledger").iterdir():
        record.unlink()
    with pytest.raises(UserError, match="no committed shards"):
        ShardReader(str(tmp_path / "out"))
    with pytest.raises(UserError, match="no such folder"):
        ShardReader(str(tmp_path / "none"))


def test_a_flipped_byte_of_a_page_names_the_shard(encoded: Path, tmp_path: Path) -> None:
    shutil.copytree(encoded / "out", tmp_path / "out")
    shard = tmp_path / "out" / "shards" / "000001.parquet"
    group = pq.ParquetFile(shard).metadata.row_group(0)
    (column,) = (
        group.column(i)
        for i in range(group.num_columns)
        if group.column(i).path_in_schema == "codes"
    )
    content = bytearray(shard.read_bytes())
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    shard.write_bytes(content)
    reader = ShardReader(str(tmp_path / "out"))
    spoilt = int(np.flatnonzero(reader.segments.shards == 1)[0])
    assert reader.read(spoilt, ["z"]).z is not None
    fault = r"/out/shards/000001\.parquet: is damaged \(.*\); delete ledger/000001\.json there"
    with pytest.raises(UserError, match=fault):
        reader.read(spoilt, ["codes"])


def test_a_shard_that_is_cut_or_gone_is_named(encoded: Path, tmp_path: Path) -> None:
    shutil.copytree(encoded / "out", tmp_path / "out")
    shard = tmp_path / "out" / "shards" / "000001.parquet"
    shard.write_bytes(shard.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"/out/shards/000001\.parquet: is damaged"):
        ShardReader(str(tmp_path / "out"))
    shard.unlink()
    with pytest.raises(UserError, match=r"/out/shards/000001\.parquet: is missing"):
        ShardReader(str(tmp_path / "out"))


def test_shards_of_other_columns_are_refused(encoded: Path, tmp_path: Path) -> None:
    shutil.copytree(encoded / "out", tmp_path / "out")
    file = tmp_path / "out" / "shards" / "000001.parquet"
    table = pq.read_table(file)
    place = table.schema.get_field_index("num_frames")
    longer = table.set_column(place, "num_frames", table["num_frames"].cast("int64"))
    pq.write_table(longer.drop_columns(["z"]), file)
    first = r"shards/000000\.parquet"
    fault = rf"000001\.parquet: other columns \(num_frames is int32 in {first}, int64 here; "
    with pytest.raises(UserError, match=rf"{fault}z is binary in {first}, absent here\); encode"):
        ShardReader(str(tmp_path / "out"))


def test_shards_of_two_codecs_are_refused(
    encoded: Path, tmp_path: Path, encode: Encode, waveform: Codec
) -> None:
    encode(encoded / "tree", tmp_path / "out", waveform, ("audio",))
    for folder, suffix in (("shards", "parquet"), ("ledger", "json")):
        name = f"{folder}/000000.{suffix}"
        shutil.copy(encoded / "out" / name, tmp_path / "out" / name)
    with pytest.raises(UserError, match="name is encodec_24khz_random in shards/000000"):
        ShardReader(str(tmp_path / "out"))


def test_shards_of_two_precisions_are_refused(encoded: Path, tmp_path: Path) -> None:
    shutil.copytree(encoded / "out", tmp_path / "out")
    file = tmp_path / "out" / "shards" / "000001.parquet"
    table = pq.read_table(file)
    entry = json.loads(table.schema.metadata[b"resyn"]) | {"precision": "bf16"}
    pq.write_table(table.replace_schema_metadata({"resyn": json.dumps(entry)}), file)
    fault = r"precision is fp32 in shards/000000\.parquet, bf16 here"
    with pytest.raises(UserError, match=fault):
        ShardReader(str(tmp_path / "out"))


def test_shards_of_audio_alone(
    encoded: Path, tmp_path: Path, encode: Encode, waveform: Codec, reader: ShardReader
) -> None:
    encode(encoded / "tree", tmp_path / "out", waveform, ("audio",))
    audio_only = ShardReader(str(tmp_path / "out"))
    assert audio_only.columns == {"audio"}
    assert audio_only.codebooks.shape == (0, 0, 0)
    np.testing.assert_array_equal(
        audio_only.read(4, ["audio"]).audio, reader.read(4, ["audio"]).audio
    )
    with pytest.raises(UserError, match="has no z"):
        audio_only.latent_statistics()


def test_a_shard_opens_without_our_code(encoded: Path, reader: ShardReader) -> None:
    """The example for other people's programs runs as it is printed, and without resyn."""
    code = EXAMPLE.read_text() + "import sys; assert 'resyn' not in sys.modules\n"
    code += "import hashlib; print(hashlib.sha256(codes.tobytes() + z.tobytes()).hexdigest())\n"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=encoded, capture_output=True, text=True, check=True)
    data = reader.read(0, ["codes", "z"])
    assert data.codes is not None
    assert data.z is not None
    expected = hashlib.sha256(data.codes.tobytes() + data.z.tobytes()).hexdigest()
    assert done.stdout.split()[-1] == expected


def test_the_readme_prints_that_example() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert [block for block in blocks if "pyarrow" in block] == [EXAMPLE.read_text()]
