"""Planning: what a segment is called, how files are cut, and that all of it is repeatable."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from resyn.data.cutting import cut
from resyn.data.manifest import make_utt_id
from resyn.data.plan import PlanSettings, PlanSummary, read_rows, read_units, write_plan
from resyn.data.quarantine import PLAN, read_refusals
from resyn.data.schema import MANIFEST
from resyn.data.sources import detect_source
from resyn.errors import UserError
from resyn.storage import Storage, open_storage

Maker = Callable[..., Path]


def plan(root: Path, output: Path, *, seconds: float = 1.0, minutes: float = 0.05) -> PlanSummary:
    source = open_storage(str(root))
    settings = PlanSettings(detect_source(source), seconds, minutes)
    return write_plan(source, open_storage(str(output)), settings)


def rows_of(output: Path) -> list[dict[str, object]]:
    return pq.read_table(output / "manifest.parquet").to_pylist()


@pytest.mark.parametrize("num_samples", [1, 99, 100, 101, 104, 105, 199, 200, 203, 1000])
def test_pieces_cover_a_file_once_and_none_is_too_short(num_samples: int) -> None:
    pieces = list(cut(num_samples, most=100, least=5))
    ends = [start + length for start, length in pieces]
    assert [start for start, _ in pieces] == [0, *ends[:-1]]
    assert ends[-1] == num_samples
    assert all(length <= 100 for _, length in pieces)
    assert len(pieces) == 1 or min(length for _, length in pieces) >= 5


def test_ids_are_distinct_and_safe_as_file_names() -> None:
    uris = ["a/x.flac", "b/x.flac", "a/<b>ü.flac", "a/" + "n" * 300 + ".wav"]
    ids = [make_utt_id(uri, start) for uri in uris for start in (0, 7)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,90}", utt_id) for utt_id in ids)


def test_ids_do_not_depend_on_where_the_corpus_lies(tmp_path: Path, make_librilight: Maker) -> None:
    here = make_librilight(tmp_path / "here")
    there = tmp_path / "deeper" / "there"
    shutil.copytree(here, there)
    plan(here, tmp_path / "one")
    plan(there, tmp_path / "two")
    assert [r["utt_id"] for r in rows_of(tmp_path / "one")] == [
        r["utt_id"] for r in rows_of(tmp_path / "two")
    ]


def test_planning_twice_gives_the_same_bytes(tmp_path: Path, make_librilight: Maker) -> None:
    root = make_librilight(tmp_path / "tree")
    summaries = [plan(root, tmp_path / name) for name in ("one", "two")]
    assert summaries[0] == summaries[1]
    for name in ("manifest.parquet", "units.parquet", PLAN):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_units_partition_the_manifest(tmp_path: Path, make_librilight: Maker) -> None:
    root = make_librilight(tmp_path / "tree", seconds=(2.0, 3.0, 2.5, 4.0))
    summary = plan(root, tmp_path / "out")
    output: Storage = open_storage(str(tmp_path / "out"))
    units = read_units(output)
    together = [row for unit in units for row in read_rows(output, unit).to_pylist()]
    assert together == rows_of(tmp_path / "out")
    assert len(units) == summary.units > 1
    assert all(unit.seconds >= 3.0 for unit in units[:-1])
    assert sum(unit.seconds for unit in units) == pytest.approx(11.5)


def test_librilight_rows(tmp_path: Path, make_librilight: Maker) -> None:
    root = make_librilight(tmp_path / "tree", seconds=(2.0,))
    plan(root, tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert pq.read_schema(tmp_path / "out" / "manifest.parquet").names == MANIFEST.names
    assert [(r["start"], r["num_samples"], r["sample_rate"]) for r in rows] == [
        (0, 16_000, 16_000),
        (16_000, 16_000, 16_000),
    ]
    assert rows[0]["source_uri"] == "small/100/book_0/part_0.flac"
    assert (rows[0]["speaker"], rows[0]["book"], rows[0]["split"]) == ("100", "b0", "small")


def test_librispeech_rows_carry_text_unless_cut(tmp_path: Path, make_librispeech: Maker) -> None:
    root = make_librispeech(tmp_path / "tree")
    assert detect_source(open_storage(str(root))) == "librispeech"
    plan(root, tmp_path / "whole", seconds=30.0)
    rows = rows_of(tmp_path / "whole")
    assert [r["text"] for r in rows] == ["GIVE ME SOMETHING", "HE SAID"]
    assert (rows[0]["speaker"], rows[0]["book"], rows[0]["split"]) == ("61", "70968", "test-clean")
    plan(root / "test-clean", tmp_path / "subset", seconds=0.5)
    cut_rows = rows_of(tmp_path / "subset")
    assert {r["split"] for r in cut_rows} == {"test-clean"}
    assert {r["text"] for r in cut_rows} == {""}


def test_a_plain_folder_of_four_containers(
    tmp_path: Path, make_tone: Callable[..., np.ndarray]
) -> None:
    folder = tmp_path / "tree" / "nested"
    folder.mkdir(parents=True)
    for suffix in ("flac", "wav", "ogg", "mp3"):
        soundfile.write(folder / f"tone.{suffix}", make_tone(0.5), 16_000)
    (folder / "notes.txt").write_text("not audio")
    (folder / ".hidden.wav").touch()
    summary = plan(tmp_path / "tree", tmp_path / "out")
    assert (summary.files, summary.segments) == (4, 4)
    formats = {r["source_format"] for r in rows_of(tmp_path / "out")}
    assert formats == {"FLAC", "WAV", "OGG", "MP3"}


def test_unusable_files_are_refused_once(
    tmp_path: Path, make_librilight: Maker, spoil: Callable[[Path], None]
) -> None:
    root = make_librilight(tmp_path / "tree", seconds=(2.0,))
    spoil(root / "small")
    soundfile.write(root / "small" / "short.wav", np.zeros(100), 16_000)
    (root / "small" / "100" / "book_0" / "part_0.json").write_text("{broken")
    summary = plan(root, tmp_path / "out")
    refusals = read_refusals(open_storage(str(tmp_path / "out")), PLAN)
    assert summary.refused == {"empty": 1, "json": 1, "magic": 1, "too_short": 1}
    assert len(refusals) == 4
    assert summary.files == 5


def test_inputs_without_audio_are_a_wrong_call(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        plan(tmp_path / "none", tmp_path / "out")
    (tmp_path / "tree").mkdir()
    with pytest.raises(UserError, match="holds no FLAC"):
        plan(tmp_path / "tree", tmp_path / "out")
    with pytest.raises(UserError, match="unknown"):
        detect_source(open_storage(str(tmp_path)), "tarball")
