"""One corpus is the same corpus in whatever shape it comes."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resyn.audio.faults import AudioFault
from resyn.data.decode import decode_unit
from resyn.data.plan import Planner, PlanSettings, listing_sha256, read_rows, read_units, write_plan
from resyn.data.schema import MANIFEST
from resyn.data.sources import (
    FolderSource,
    SourceFile,
    SourceReader,
    detect_source,
    file_of_row,
    open_source,
    walk,
)
from resyn.errors import UserError
from resyn.storage import open_storage
from tests.data.shapes import SHAPES, SPLITS, Clip, make_clips, write_lines, write_tar


@pytest.fixture(scope="module")
def clips(make_tone: Callable[..., np.ndarray]) -> list[Clip]:
    return make_clips(make_tone)


def planned(given: Path, output: Path, seconds: float = 30.0, **more: Any) -> list[dict[str, Any]]:
    """The manifest's rows, all of one unit."""
    root = open_storage(str(given))
    settings = PlanSettings(detect_source(root), seconds, 1.0, **more)
    write_plan(root, open_storage(str(output)), settings)
    (unit,) = read_units(open_storage(str(output)))
    return read_rows(open_storage(str(output)), unit).to_pylist()


def bytes_of(given: Path, rows: list[dict[str, Any]]) -> list[bytes]:
    root = open_storage(str(given))
    base = open_source(root, detect_source(root)).base
    with closing(SourceReader(base)) as reader:
        found: list[bytes] = []
        for row in rows:
            with reader.open(file_of_row(row)) as handle:
                found.append(handle.read())
                assert len(found[-1]) == row["source_size"]
                handle.seek(-4, 2)
                assert handle.read(9) == found[-1][-4:]
        return found


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same_audio_and_labels(
    shape: str, clips: list[Clip], tmp_path: Path
) -> None:
    write, kind, carried = SHAPES[shape]
    given = write(tmp_path / "here", clips)
    assert detect_source(open_storage(str(given))) == kind
    rows = planned(given, tmp_path / "out")
    assert bytes_of(given, rows) == [clip.flac for clip in clips]
    for label in ("speaker", "book", "text"):
        expected = [getattr(clip, label) if label in carried else "" for clip in clips]
        assert [row[label] for row in rows] == expected
    assert {row["split"] for row in rows} == {SPLITS.get(shape, "")}
    assert [row["num_samples"] for row in rows] == [round(16_000 * c.seconds) for c in clips]
    assert {row["spans"] for row in rows} == {None}
    assert list(rows[0]) == MANIFEST.names


@pytest.mark.parametrize("shape", sorted(set(SHAPES) - {"fairseq"}))
def test_ids_and_listings_are_the_same_wherever_the_corpus_lies(
    shape: str, clips: list[Clip], tmp_path: Path
) -> None:
    """But for fairseq, whose tables name an absolute folder."""
    given = SHAPES[shape][0](tmp_path / "here", clips)
    shutil.copytree(tmp_path / "here", tmp_path / "deeper" / "there")
    there = tmp_path / "deeper" / "there" / given.relative_to(tmp_path / "here")
    one, two = planned(given, tmp_path / "one"), planned(there, tmp_path / "two")
    assert [row["utt_id"] for row in one] == [row["utt_id"] for row in two]
    assert len({row["utt_id"] for row in one}) == 3
    kind = SHAPES[shape][1]
    listings = [listing_sha256(open_source(open_storage(str(p)), kind)) for p in (given, there)]
    assert listings[0] == listings[1]


def test_the_decoder_reads_every_shape(clips: list[Clip], tmp_path: Path) -> None:
    """In the manifest's order and in another, which sends a table's cursor back."""
    decoded: list[list[bytes]] = []
    for shape in ("folder", "librilight tar", "parquet", "lhotse cuts"):
        given = SHAPES[shape][0](tmp_path / shape, clips)
        planned(given, tmp_path / "out" / shape)
        output, root = open_storage(str(tmp_path / "out" / shape)), open_storage(str(given))
        rows = read_rows(output, read_units(output)[0])
        base = open_source(root, detect_source(root)).base
        there = decode_unit(base, rows, 24_000, with_audio=False)["pcm"].to_pylist()
        back = decode_unit(base, rows.take([2, 0, 1]), 24_000, False)["pcm"].to_pylist()
        assert back == [there[2], there[0], there[1]]
        decoded.append(there)
    assert all(pcm is not None for pcm in decoded[0])
    assert decoded.count(decoded[0]) == 4


def test_a_region_of_a_manifest_is_that_part_of_the_file(clips: list[Clip], tmp_path: Path) -> None:
    """Listed out of order and overlapping: each is read from the file's first sample."""
    SHAPES["folder"][0](tmp_path / "in", clips)
    path = f"audio/{clips[1].name}.flac"
    listed = [(0.5, 0.5), (0.25, 0.5), (0.0, 1.5), (1.0, 0.52), (1.25, 0.3)]
    rows = [{"audio_filepath": path, "offset": o, "duration": d, "text": "A"} for o, d in listed]
    given = write_lines(tmp_path / "in" / "regions.jsonl", rows)
    made = planned(given, tmp_path / "out")
    assert [(row["start"], row["num_samples"], row["text"]) for row in made] == [
        (8_000, 8_000, "A"),
        (4_000, 8_000, "A"),
        (0, 24_000, "A"),
        (16_000, 8_000, "A"),  # 20 ms beyond the end: a rounded duration
        (20_000, 4_000, "A"),  # and 50 ms
    ]
    output = open_storage(str(tmp_path / "out"))
    manifest = read_rows(output, read_units(output)[0])
    table = decode_unit(open_storage(str(given.parent)), manifest, 16_000, False)
    whole = np.frombuffer(table["pcm"][2].as_py(), np.int16)
    for row, pcm in zip(made, table["pcm"].to_pylist(), strict=True):
        part = whole[row["start"] : row["start"] + row["num_samples"]]
        np.testing.assert_array_equal(np.frombuffer(pcm, np.int16), part)


class EndlessSource(FolderSource):
    """Clips without end, of which it counts those drawn."""

    def __init__(self, file: SourceFile, base: Any, fault: AudioFault | None = None) -> None:
        super().__init__(base)
        self.file, self.fault, self.drawn = file, fault, 0

    def files(self) -> Iterator[SourceFile]:
        while self.drawn < 30_000:
            self.drawn += 1
            yield SourceFile(self.file.uri, self.file.size, fault=self.fault)


def test_planning_draws_no_more_files_than_a_unit_needs(clips: list[Clip], tmp_path: Path) -> None:
    root = open_storage(str(SHAPES["folder"][0](tmp_path, clips)))
    source = EndlessSource(next(walk(root)), root)
    units = Planner(source, PlanSettings("folder", 30.0, 0.1), lambda refusal: None).units()
    assert [len(next(units)), source.drawn, len(next(units)), source.drawn] == [6, 6, 6, 12]


def test_planning_holds_no_list_of_files(clips: list[Clip], tmp_path: Path) -> None:
    root = open_storage(str(SHAPES["folder"][0](tmp_path, clips)))
    source = EndlessSource(next(walk(root)), root, AudioFault("empty", "the file has no bytes"))
    planner = Planner(source, PlanSettings("folder", 30.0, 0.1), lambda refusal: None)
    tracemalloc.start()
    assert list(planner.units()) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert planner.summary.refused == {"empty": 30_000}
    assert peak < 200_000  # a list of 30,000 files would take eight bytes each for its slots alone


def test_inputs_of_no_kind_say_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds no FLAC.* no \.tar archive and no \.parquet"):
        detect_source(open_storage(str(tmp_path / "empty")))
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match=r"notes.txt: is no \.tar.*NeMo or lhotse.*fairseq"):
        detect_source(open_storage(str(tmp_path / "notes.txt")))
    with pytest.raises(UserError, match=r"holds no \.tar archive, as --source webdataset needs"):
        detect_source(open_storage(str(tmp_path / "empty")), "webdataset")
    silent = write_tar(tmp_path / "x.tar", [("a.txt", b"text")])
    with pytest.raises(UserError, match="no audio at all"):
        planned(silent, tmp_path / "out")
