"""A file costs no more memory than what is taken from it, and no more traffic than its header."""

from __future__ import annotations

import tracemalloc
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import s3fs
import soundfile

from resyn.data.decode import decode_unit
from resyn.data.manifest import ManifestRow, plan_file
from resyn.data.sources import FolderSource, SourceFile, SourceReader
from resyn.storage import BLOCK_BYTES, Storage, open_storage
from tests.s3_proxy import S3

RATE = 16_000


def write_noise(file: Path, minutes: float) -> int:
    """Noise, which FLAC cannot shorten: about 1.8 MB a minute. Returns the file's size."""
    random = np.random.default_rng(5)
    with soundfile.SoundFile(file, "w", RATE, 1, "PCM_16", format="FLAC") as sink:
        for _ in range(round(minutes * 6)):
            sink.write(random.uniform(-0.5, 0.5, 10 * RATE).astype(np.float32))
    return file.stat().st_size


def last_second(folder: Storage, name: str, size: int) -> pa.Table:
    """The manifest row of the last second of a file."""
    file = SourceFile(name, size)
    with closing(SourceReader(folder)) as reader:
        rows = plan_file(FolderSource(folder), reader, file, segment_seconds=1.0)
    assert isinstance(rows, list)
    fields = {key: [getattr(rows[-1], key)] for key in ManifestRow.__dataclass_fields__}
    return pa.table(fields)


def test_a_long_file_is_decoded_in_the_memory_of_a_short_one(tmp_path: Path) -> None:
    peaks = []
    for name, minutes in (("short.flac", 3), ("long.flac", 9)):
        size = write_noise(tmp_path / name, minutes)
        folder = open_storage(str(tmp_path))
        row = last_second(folder, name, size)
        tracemalloc.start()
        made = decode_unit(folder, row, RATE, with_audio=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        end, _ = soundfile.read(tmp_path / name, start=(60 * minutes - 1) * RATE, dtype="int16")
        np.testing.assert_array_equal(np.frombuffer(made["pcm"][0].as_py(), np.int16), end)
    assert peaks[1] < peaks[0] + 2**18


def test_a_header_in_a_bucket_costs_no_download(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = open_storage("s3://noise")
    bucket.fs.mkdir("noise")
    size = write_noise(tmp_path / "noise.flac", 3)
    bucket.fs.put_file(str(tmp_path / "noise.flac"), bucket.path("noise.flac"))
    fetched: list[int] = []
    fetch = s3fs.core.S3File._fetch_range

    def counted(self: s3fs.core.S3File, start: int, end: int) -> bytes:
        fetched.append(end - start)
        return fetch(self, start, end)

    monkeypatch.setattr(s3fs.core.S3File, "_fetch_range", counted)
    row = last_second(bucket, "noise.flac", size)
    assert 0 < sum(fetched) < 2 * BLOCK_BYTES < size
    fetched.clear()
    made = decode_unit(bucket, row, RATE, with_audio=False)
    assert made["fault_code"].null_count == 1
    assert sum(fetched) == size
