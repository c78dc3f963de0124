"""Case 17, and 30 for tables and names: hostile and broken archives and tables.

Refused one by one; nothing is followed or loaded.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from resyn.codec import Codec
from resyn.data.audit import audit
from resyn.data.job import Job
from resyn.data.ledger import read_records
from resyn.data.plan import PlanSettings, read_rows, read_units, write_plan
from resyn.data.report import check_quarantine, closing_lines
from resyn.errors import RunError
from resyn.storage import open_storage
from tests.data import shapes
from tests.data.planning import plan, told, uris
from tests.data.shapes import Clip, make_clips, write, write_tar


@pytest.fixture(scope="module")
def clips(make_tone: Callable[..., np.ndarray]) -> list[Clip]:
    return make_clips(make_tone)


@pytest.fixture
def corpus(clips: list[Clip], tmp_path: Path) -> Path:
    """A folder with `audio/`, beside a file that is nobody's business."""
    write(tmp_path / "secret.flac", clips[0].flac)
    return shapes.folder(tmp_path / "in", clips)


class Canary:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_members_that_a_tar_should_not_have_are_refused_and_the_rest_is_read(
    clips: list[Clip], tmp_path: Path
) -> None:
    flac, path = clips[0].flac, tmp_path / "in" / "shard.tar"
    hostile = pickle.dumps(Canary(tmp_path / "canary"))
    names = ["good.flac", "../out.flac", "/abs.flac", "a/../../up.flac", "good.pkl", "good.pyd"]
    members = [(name, hostile if name.startswith("good.p") else flac) for name in names]
    write_tar(path, [*members, ("._good.flac", b"resource"), ("notes.txt", b"")])
    with tarfile.open(path, "a") as archive:
        for name, kind in {
            "dev": tarfile.CHRTYPE,
            "fifo": tarfile.FIFOTYPE,
            "s": tarfile.SYMTYPE,
        }.items():
            info = tarfile.TarInfo(f"{name}.flac")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("hard.flac")
        info.type, info.linkname = tarfile.LNKTYPE, "good.flac"
        archive.addfile(info)
        archive.addfile(tarfile.TarInfo("empty.flac"), io.BytesIO())
    refusals = plan(path, tmp_path / "out")
    assert uris(tmp_path / "out") == ["shard.tar#good.flac"]
    assert Counter(refusal.code for refusal in refusals) == {"unsafe": 9, "empty": 1}
    assert {r.source_uri for r in refusals} >= {"shard.tar#../out.flac", "shard.tar#good.pkl"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]


@pytest.mark.parametrize("keep", [0.3, 0.6, 1.0])
def test_a_tar_that_breaks_off_says_so(keep: float, clips: list[Clip], tmp_path: Path) -> None:
    """Within a member, and after the last where the end mark should be."""
    whole = shapes.librilight_tar(tmp_path / "in", clips).read_bytes()
    end = whole.rindex(b"fLaC") + len(clips[-1].flac)
    given = write(tmp_path / "in" / "small.tar", whole[: int(keep * end)])
    codes = {refusal.source_uri: refusal.code for refusal in plan(given, tmp_path / "out")}
    assert codes["small.tar"] in ("decode", "truncated")


@pytest.mark.parametrize(("kind", "size"), [(tarfile.REGTYPE, -512), (tarfile.XHDTYPE, 2**40)])
def test_a_header_that_claims_the_impossible_ends_an_archive(
    kind: bytes, size: int, clips: list[Clip], tmp_path: Path
) -> None:
    """A negative size leads back to the same header for ever; attributes are read whole."""
    info = tarfile.TarInfo("x.flac")
    info.type, info.size = kind, size
    good = write_tar(tmp_path / "in" / "x.tar", [("good.flac", clips[0].flac)]).read_bytes()
    end = tarfile.BLOCKSIZE + -(-len(clips[0].flac) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    header = info.tobuf(tarfile.GNU_FORMAT)
    given = write(tmp_path / "in" / "x.tar", good[:end] + header + good[end:])
    assert told(plan(given, tmp_path / "out")) == [("x.tar", "decode")]
    assert uris(tmp_path / "out") == ["x.tar#good.flac"]


def test_a_tar_damaged_in_the_middle_says_so(clips: list[Clip], tmp_path: Path) -> None:
    path = shapes.librilight_tar(tmp_path / "in", clips)
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        header = archive.getmembers()[-1].offset
    data[header : header + 100] = b"\x01" * 100
    path.write_bytes(data)
    assert [(r.source_uri, r.code) for r in plan(path, tmp_path / "out")] == [
        ("small.tar", "decode")
    ]
    assert len(uris(tmp_path / "out")) == 2


def test_what_a_damaged_tar_and_table_lost_is_named_by_report_and_audit(
    clips: list[Clip], tmp_path: Path, encode: Callable[..., Job], waveform: Codec
) -> None:
    """The members before the damage are encoded; a refused member by itself is no loss."""
    good = shapes.librilight_tar(tmp_path / "in", clips).read_bytes()
    write(tmp_path / "in" / "cut.tar", good[: len(good) // 2])
    write_tar(tmp_path / "in" / "empty.tar", [("empty.flac", b"")])
    job = encode(tmp_path / "in", tmp_path / "out", waveform, ("audio",))
    report = audit(job.output, contents=True)
    assert report.clean
    assert list(report.lost) == list(job.summary.lost) == ["cut.tar"]
    assert re.search(r"1 archive or table is damaged \(cut\.tar, .* byte \d+", str(report))
    assert "cut.tar" in closing_lines(read_records(job.output), job.summary)
    with pytest.raises(RunError, match="--max-quarantine 1"):
        check_quarantine(report, None, "out")


def test_what_a_table_lost_is_named(clips: list[Clip], tmp_path: Path) -> None:
    path = shapes.parquet(tmp_path / "in", clips)
    write(path.with_name("zzz.parquet"), path.read_bytes()[:-20])
    root, output = open_storage(str(tmp_path / "in")), open_storage(str(tmp_path / "out"))
    assert list(write_plan(root, output, PlanSettings("parquet", 30.0, 1.0)).lost) == [
        "zzz.parquet"
    ]


class CanaryType(pa.ExtensionType):
    """A registered type, which pyarrow builds as soon as it reads its name in a schema."""

    built = 0

    def __init__(self) -> None:
        audio = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        super().__init__(audio, "resyn.tests.canary")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> CanaryType:
        cls.built += 1
        return cls()


@pytest.fixture
def canary() -> Iterator[type[CanaryType]]:
    pa.register_extension_type(CanaryType())
    CanaryType.built = 0
    yield CanaryType
    pa.unregister_extension_type("resyn.tests.canary")


def test_tables_with_extension_types_paths_or_damage_are_refused(
    clips: list[Clip], tmp_path: Path, canary: type[CanaryType]
) -> None:
    folder = shapes.parquet(tmp_path / "in", clips).parent
    audio = pa.array([{"bytes": None, "path": str(tmp_path / "secret.flac")}])
    pq.write_table(pa.table({"audio": audio}), folder / "paths.parquet")
    tagged = {b"ARROW:extension:name": b"resyn.tests.canary", b"ARROW:extension:metadata": b"x"}
    field = pa.field("audio", audio.type, metadata=tagged)
    pq.write_table(pa.table([audio], schema=pa.schema([field])), folder / "typed.parquet")
    write(folder / "zzz.parquet", b"PAR1 not a table PAR1")
    pq.read_schema(folder / "typed.parquet")
    assert canary.built
    canary.built = 0
    refusals = plan(folder, tmp_path / "out")
    assert told(refusals) == [
        ("paths.parquet#0", "access"),
        ("typed.parquet", "unsafe"),
        ("zzz.parquet", "decode"),
    ]
    assert len(uris(tmp_path / "out")) == 3
    assert not canary.built


def test_markup_in_names_does_not_reach_an_id(
    corpus: Path, clips: list[Clip], tmp_path: Path
) -> None:
    name = "<script>alert(1)</script>"
    write(corpus / "audio" / name.replace("/", "⁄") / "<b>.flac", clips[0].flac)
    given = write_tar(tmp_path / "t" / "x.tar", [(f"{name}.flac", clips[0].flac)])
    for place in (corpus, given):
        plan(place, tmp_path / f"out-{place.name}")
        storage = open_storage(str(tmp_path / f"out-{place.name}"))
        ids = [i for u in read_units(storage) for i in read_rows(storage, u)["utt_id"].to_pylist()]
        assert not set("<>&\"'/") & set("".join(ids))


def test_broken_descriptions_in_a_tar_are_quarantined(clips: list[Clip], tmp_path: Path) -> None:
    """Case 14."""
    members = [("a.flac", clips[0].flac), ("a.json", b"{"), ("b.flac", clips[1].flac)]
    members += [("b.json", json.dumps(["no", "object"]).encode()), ("c.flac", clips[2].flac)]
    refusals = plan(write_tar(tmp_path / "in" / "x.tar", members), tmp_path / "out")
    assert told(refusals) == [
        ("x.tar#a.flac", "json"),
        ("x.tar#b.flac", "json"),
    ]
    assert uris(tmp_path / "out") == ["x.tar#c.flac"]


def test_silence_is_kept_and_flagged(
    corpus: Path, tmp_path: Path, encode: Callable[..., Job], waveform: Codec
) -> None:
    soundfile.write(corpus / "audio" / "a-silent.flac", np.zeros(16_000), 16_000)
    encode(corpus, tmp_path / "out", waveform, ("audio",))
    tables = [pq.read_table(path) for path in sorted((tmp_path / "out" / "shards").iterdir())]
    flags = {row["source_uri"]: row["silent"] for t in tables for row in t.to_pylist()}
    assert flags.pop("audio/a-silent.flac") is True
    assert set(flags.values()) == {False}
    assert len(flags) == 3
