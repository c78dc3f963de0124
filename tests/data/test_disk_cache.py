"""Shards of an object store on this machine's disk: fetched once, bounded, never wrong."""

from __future__ import annotations

import errno
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from resyn.data.disk_cache import DiskCache
from resyn.data.shards import SegmentData, ShardReader
from resyn.errors import RunError, UserError
from resyn.storage import open_storage
from tests.s3_proxy import S3

URI = "s3://kept/out"
COLUMNS = ["codes", "z", "audio"]
SHARDS = "kept/out/shards/*"


@pytest.fixture(scope="module")
def uploaded(s3_session: S3, encoded: Path) -> S3:
    s3_session.upload(encoded, "kept")
    return s3_session


@pytest.fixture
def store(uploaded: S3, s3: S3) -> S3:
    """The encoded segments in a bucket, no fault armed."""
    return s3


@pytest.fixture(scope="module")
def local(encoded: Path) -> ShardReader:
    return ShardReader(str(encoded / "out"))


def assert_same(reader: ShardReader, local: ShardReader) -> None:
    for index in range(len(local)):
        found, expected = reader.read(index, COLUMNS), local.read(index, COLUMNS)
        for column in COLUMNS:
            np.testing.assert_array_equal(getattr(found, column), getattr(expected, column))


def kept_files(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if file.is_file()]


def test_workers_of_a_node_fetch_every_shard_once(
    store: S3, local: ShardReader, tmp_path: Path
) -> None:
    """Three caches as three processes have them, with two threads each, on one folder."""
    readers = [ShardReader(URI, 1, DiskCache(str(tmp_path), 10**9)) for _ in range(3)]
    store.calm()

    def read(task: int) -> SegmentData:
        return readers[task % 3].read(task // 3 % len(local), COLUMNS)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(read, range(6 * len(local))))
    assert store.count("GET", SHARDS) == len(local.records) > 1
    for reader in readers:
        assert_same(reader, local)
    later = ShardReader(URI, 1, DiskCache(str(tmp_path), 10**9))
    store.calm()
    assert_same(later, local)
    assert store.count("GET", SHARDS) == 0
    assert {file.name for file in kept_files(tmp_path)} == {r.sha256 for r in local.records}


def test_cached_and_uncached_reading_agree(store: S3, local: ShardReader, tmp_path: Path) -> None:
    """Also where nothing fits, on the disk or in memory."""
    assert_same(ShardReader(URI), local)
    assert_same(ShardReader(URI, 1, DiskCache(str(tmp_path), 1)), local)
    assert kept_files(tmp_path) == []


def test_threads_share_what_one_of_them_reads(store: S3, local: ShardReader) -> None:
    def requests(threads: int) -> int:
        reader = ShardReader(URI)
        store.calm()
        with ThreadPoolExecutor(threads) as pool:
            indices = [i for i in range(len(local)) for _ in range(threads)]
            tasks = [pool.submit(reader.read, index, COLUMNS) for index in indices]
        assert all(task.result() for task in tasks)
        return store.count("GET", SHARDS)

    assert requests(8) == requests(1) > 0


def test_shards_on_this_machine_are_not_copied(
    encoded: Path, local: ShardReader, tmp_path: Path
) -> None:
    assert_same(ShardReader(str(encoded / "out"), 1, DiskCache(str(tmp_path), 10**9)), local)
    assert kept_files(tmp_path) == []


def test_the_longest_unused_makes_room(store: S3, tmp_path: Path) -> None:
    """Of four files of 100 bytes, two and a half may stay."""
    files = {f"blob{number}": bytes([number]) * 100 for number in range(4)}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    for name, data in files.items():
        store.put(f"kept/{name}", data)
    cache = DiskCache(str(tmp_path), 250)
    kept: list[set[str]] = []
    for name in ("blob0", "blob1", "blob0", "blob2", "blob3"):
        with cache.open(open_storage("s3://kept"), name, digests[name], 100) as file:
            assert file.read() == files[name]
        found = {file.name for file in kept_files(tmp_path)}
        kept.append({name for name, digest in digests.items() if digest in found})
        assert len(found) <= 2
    assert kept[2:] == [{"blob0", "blob1"}, {"blob0", "blob2"}, {"blob2", "blob3"}]
    assert [store.count("GET", f"kept/{name}") for name in files] == [1, 1, 1, 1]


def test_an_open_file_outlives_its_removal(store: S3, local: ShardReader, tmp_path: Path) -> None:
    storage, record, other = open_storage(URI), *local.records[:2]
    room = max(record.bytes, other.bytes)
    with DiskCache(str(tmp_path), room).open(
        storage, record.shard, record.sha256, record.bytes
    ) as file:
        DiskCache(str(tmp_path), room).open(storage, other.shard, other.sha256, other.bytes).close()
        assert [kept.name for kept in kept_files(tmp_path)] == [other.sha256]
        assert hashlib.sha256(file.read()).hexdigest() == record.sha256


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_damaged_file_is_fetched_anew(
    store: S3, local: ShardReader, tmp_path: Path, damage: str
) -> None:
    assert_same(ShardReader(URI, 1, DiskCache(str(tmp_path), 10**9)), local)
    file = kept_files(tmp_path)[0]
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    kept = {"flipped": data, "cut": data[: len(data) // 2], "empty": b""}[damage]
    file.write_bytes(kept)
    again = ShardReader(URI, 1, DiskCache(str(tmp_path), 10**9))
    store.calm()
    assert_same(again, local)
    assert store.count("GET", SHARDS) == 1


def test_what_a_killed_fetch_left_is_no_file(store: S3, local: ShardReader, tmp_path: Path) -> None:
    for record in local.records:
        (tmp_path / record.sha256).with_suffix(".partial").write_bytes(b"half")
    assert_same(ShardReader(URI, 1, DiskCache(str(tmp_path), 10**9)), local)
    assert {file.name for file in kept_files(tmp_path)} == {r.sha256 for r in local.records}


def test_a_shard_that_is_not_the_ledgers_is_refused(
    store: S3, local: ShardReader, tmp_path: Path
) -> None:
    storage, (first, second) = open_storage(URI), local.records[:2]
    with pytest.raises(RunError, match=rf"{first.shard}: its sha256 .*--audit"):
        DiskCache(str(tmp_path), 10**9).open(storage, first.shard, second.sha256, first.bytes)
    assert kept_files(tmp_path) == []


def test_a_full_disk_costs_the_cache_and_not_the_run(
    store: S3, local: ShardReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    reader = ShardReader(URI, 1, DiskCache(str(tmp_path), 10**9))
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.warns(UserWarning, match="No space left"):
        assert_same(reader, local)
    assert kept_files(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"run\.cache_dir: .*file/x: Not a directory"):
        DiskCache(str(tmp_path / "file" / "x"), 1)
