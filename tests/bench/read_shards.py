"""Reading shards: against a list column, against a loop of pyarrow calls; and what codes weigh.

Sizes are of `demo_24khz` on synthetic speech. One thread, files in the page cache.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from resyn.audio import read_audio
from resyn.codec import load_codec
from resyn.corpus import write_librilight
from resyn.data.collate import latent_batch
from resyn.data.commit import commit_unit
from resyn.data.decode import decode_unit
from resyn.data.encode import BatchShape, encode_unit
from resyn.data.job import Recipe, open_job
from resyn.data.plan import PlanSettings, read_rows
from resyn.data.sampler import Crop
from resyn.data.shards import ShardReader
from resyn.storage import open_storage
from resyn.types import LatentSpace
from tests.interleaved import report_speed
from tests.requantise import requantised

MINUTES, COPIES, ROWS, FRAMES, BATCH, ROUNDS = 3, 40, 1200, 600, 16, 9


def main() -> None:
    """Print sizes and ratios."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reader = ShardReader(str(encode_corpus(folder)))
        sizes(reader, folder)
        rounding(folder / "speech")
        scans(reader, folder)
        batches(reader)


def encode_corpus(folder: Path) -> Path:
    """Shards of a few minutes, their rows repeated to an hour or two."""
    codec, columns = load_codec("demo_24khz"), ("codes", "z")
    write_librilight(folder / "speech", minutes=MINUTES)
    recipe = Recipe(codec.spec, columns, PlanSettings("auto", 30.0, 60.0))
    source, output = open_storage(str(folder / "speech")), open_storage(str(folder / "shards"))
    job = open_job(source, output, recipe, codec)
    for unit in job.pending():
        decoded = decode_unit(source, read_rows(output, unit), 24_000, False)
        encoded = encode_unit(codec, decoded, columns, BatchShape(1, 1.0))
        repeated = pa.concat_tables([encoded] * COPIES)
        commit_unit(output, unit.unit, repeated, codec.spec, columns)
    return folder / "shards"


def sizes(reader: ShardReader, folder: Path) -> None:
    """Print bytes per second of audio for each way to store the codes (and z)."""
    distinct = range(len(reader) // COPIES)
    codes = [reader.read(i, ["codes"]).codes for i in distinct]
    audio_seconds = sum(c.shape[1] for c in codes if c is not None) / 75
    plain = [np.ascontiguousarray(c) for c in codes if c is not None]
    ways = {
        "uint16": (pa.array([c.tobytes() for c in plain]), "none"),
        "uint16 + zstd": (pa.array([c.tobytes() for c in plain]), "zstd"),
        "10 bits": (pa.array([pack10(c) for c in plain]), "none"),
        "10 bits + zstd": (pa.array([pack10(c) for c in plain]), "zstd"),
        "list<uint16> + zstd": (pa.array([c.ravel() for c in plain]), "zstd"),
    }
    for way, (column, compression) in ways.items():
        file = folder / "sizes.parquet"
        pq.write_table(
            pa.table({"codes": column}), file, compression=compression, use_dictionary=False
        )
        print(f"codes as {way}: {file.stat().st_size / audio_seconds:.0f} bytes a second")


def rounding(speech: Path) -> None:
    """Print what float16 costs: error of z, and codes that change when made from it anew."""
    for name in ("demo_24khz", "encodec_24khz_random"):
        codec = load_codec(name)
        error, power, changed, total = 0.0, 0.0, 0, 0
        for file in sorted(speech.rglob("*.flac"))[:4]:
            samples = torch.from_numpy(read_audio(str(file), 24_000).samples[: 30 * 24_000])
            whole = len(samples) // codec.spec.hop * codec.spec.hop
            frames = codec.encode(samples[None, None, :whole])
            stored = frames.z[0].half().float()
            error += float((stored - frames.z[0]).square().sum())
            power += float(frames.z.square().sum())
            codes = requantised(stored, codec.codebooks)
            changed += int((codes != frames.codes[0]).sum())
            total += codes.numel()
        print(
            f"z of {name} as float16: relative error {(error / power) ** 0.5:.1e}; of the codes "
            f"made from it {100 * changed / total:.3f} % are others"
        )


def pack10(codes: np.ndarray) -> bytes:
    """Ten bits a code, most significant bit first."""
    bits = codes.reshape(-1, 1) >> np.arange(9, -1, -1, dtype=np.uint16) & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def scans(reader: ShardReader, folder: Path) -> None:
    """Every code of every row as numbers, from a shard of codes and from a list column.

    The codes are random, because repeated ones would be too easy to compress; real ones hardly
    compress either, as the sizes in ten bits say.
    """
    codes = np.random.default_rng(0).integers(0, 1024, (ROWS, 8 * 30 * 75), np.uint16)
    shard = write_codes(reader, codes, folder / "codes")
    offsets = pa.array(np.arange(ROWS + 1) * codes.shape[1], pa.int32())
    column = pa.ListArray.from_arrays(offsets, pa.array(codes.ravel()))
    rows = pq.ParquetFile(shard).metadata.row_group(0).num_rows
    lists = {way: folder / f"lists-{way}.parquet" for way in ("zstd", "none")}
    for way, file in lists.items():
        table = pa.table({"codes": column})
        pq.write_table(table, file, compression=way, row_group_size=rows)

    def packed() -> None:
        read = (np.frombuffer(cell.as_buffer(), "<u2") for c in columns(shard) for cell in c)
        assert sum(row.size for row in read) == codes.size

    def listed(way: str) -> None:
        read = (chunk.flatten().to_numpy() for c in columns(lists[way]) for chunk in c.chunks)
        assert sum(row.size for row in read) == codes.size

    for way in lists:
        title = f"scan of a shard's codes ÷ list<uint16> column ({way}), speed (goal >= 8)"
        report_speed(title, packed, partial(listed, way), ROUNDS)
    report_speed("scan of a shard's codes ÷ itself (control)", packed, packed, ROUNDS)


def columns(file: Path) -> Iterator[pa.ChunkedArray]:
    """The codes of one row group after the other, so that none but the latest is held."""
    parquet = pq.ParquetFile(file, memory_map=True, pre_buffer=False)
    for group in range(parquet.num_row_groups):
        yield parquet.read_row_group(group, ["codes"], use_threads=False)["codes"]


def write_codes(reader: ShardReader, codes: np.ndarray, folder: Path) -> Path:
    """A shard of the rows of `codes`, its labels those of `reader`'s first."""
    labels = pq.read_table(f"{reader.storage.root}/{reader.records[0].shard}").drop_columns(["z"])
    table = labels.take(np.arange(len(codes)) % labels.num_rows)
    new = {
        "num_frames": pa.array(np.full(len(codes), codes.shape[1] // 8, np.int32)),
        "codes": pa.array([row.tobytes() for row in codes], pa.binary()),
    }
    for name, column in new.items():
        table = table.set_column(table.column_names.index(name), name, column)
    for name in ("fault_code", "fault_detail"):
        table = table.append_column(name, pa.nulls(len(codes), pa.string()))
    record = commit_unit(open_storage(str(folder)), 0, table, reader.spec, ("codes",))
    return folder / record.shard


def batches(reader: ShardReader) -> None:
    """Crops in random order to tensors, row groups at hand: our reader and bare calls."""
    random = np.random.default_rng(0)
    order = random.permutation(len(reader))
    crops = [
        Crop(n, int(s), int(random.integers(max(1, reader.segments[int(s)].num_frames - FRAMES))))
        for n, s in enumerate(order)
    ]
    groups = [crops[i : i + BATCH] for i in range(0, len(crops) - BATCH + 1, BATCH)]
    books = reader.codebooks
    space = LatentSpace(books, torch.zeros(128), torch.ones(128))
    file = f"{reader.storage.root}/{reader.records[0].shard}"
    table = pq.read_table(file, columns=["codes", "z"], use_threads=False).combine_chunks()

    def ours() -> None:
        for group in groups:
            latent_batch(reader, group, FRAMES, space)

    def bare() -> None:
        for group in groups:
            bare_batch(table, group)

    report_speed("collated batches ÷ bare pyarrow loop, speed (goal >= 0.9)", ours, bare, ROUNDS)
    report_speed("collated batches ÷ themselves (control)", ours, ours, ROUNDS)


def bare_batch(table: pa.Table, crops: list[Crop]) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes (B,K,T) and z (B,T,D) of segments that are long enough or padded."""
    codes, z = np.zeros((len(crops), 8, FRAMES), np.int64), np.zeros((len(crops), FRAMES, 128), "f")
    for place, crop in enumerate(crops):
        span = slice(crop.start, crop.start + FRAMES)
        row = np.frombuffer(table["codes"][crop.segment].as_buffer(), "<u2").reshape(8, -1)[:, span]
        codes[place, :, : row.shape[1]] = row
        latents = np.frombuffer(table["z"][crop.segment].as_buffer(), "<f2").reshape(-1, 128)[span]
        z[place, : len(latents)] = latents
    return torch.from_numpy(codes), torch.from_numpy(z)


if __name__ == "__main__":
    main()
