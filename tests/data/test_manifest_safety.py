"""Cases 15 and 16: manifests that lead astray, refused by line before any work starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resyn.codec import Codec
from resyn.data.job import Recipe, open_job
from resyn.data.plan import PlanSettings
from resyn.errors import UserError
from resyn.storage import open_storage
from tests.data import shapes
from tests.data.planning import plan, uris
from tests.data.shapes import Clip, make_clips, write, write_lines


@pytest.fixture(scope="module")
def clips(make_tone: Callable[..., np.ndarray]) -> list[Clip]:
    return make_clips(make_tone)


@pytest.fixture
def corpus(clips: list[Clip], tmp_path: Path) -> Path:
    """A folder with `audio/`, beside a file that is nobody's business."""
    write(tmp_path / "secret.flac", clips[0].flac)
    return shapes.folder(tmp_path / "in", clips)


def listing(kind: str, folder: Path, paths: list[str]) -> Path:
    """A manifest of `paths`; the first of them on line 2, or 3 of a fairseq table."""
    good = f"audio/{next((folder / 'audio').glob('*.flac')).name}"
    names = [good, *paths]
    if kind == "fairseq":
        lines = "".join(f"{name}\t16000\n" for name in names)
        return write(folder / "list.tsv", f".\n{lines}".encode())
    if kind == "nemo":
        return write_lines(folder / "list.jsonl", [{"audio_filepath": name} for name in names])
    source = {"type": "file", "channels": [0]}
    rows = [{"id": name, "sources": [source | {"source": name}]} for name in names]
    return write_lines(folder / "list.jsonl.gz", rows)


@pytest.mark.parametrize("kind", ["nemo", "fairseq", "lhotse"])
@pytest.mark.parametrize(
    "escape",
    [
        *("../secret.flac", "audio/../../secret.flac", "{top}/secret.flac", "link.flac"),
        *("linked/secret.flac", "file://{top}/secret.flac", "s3://bucket/x.flac", "/etc/passwd"),
    ],
)
def test_a_path_that_leaves_the_folder_stops_the_job_before_it_starts(
    kind: str, escape: str, corpus: Path, tmp_path: Path
) -> None:
    (corpus / "link.flac").symlink_to(tmp_path / "secret.flac")
    (corpus / "linked").symlink_to(tmp_path)
    escape = escape.format(top=tmp_path)
    given = listing(kind, corpus, [escape])
    line = 3 if kind == "fairseq" else 2
    with pytest.raises(UserError, match=rf"list\.\S+:{line}: '.*{escape}' (leaves|lies on)"):
        plan(given, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_allowed_root_lets_paths_go_as_far_as_it_says(corpus: Path, tmp_path: Path) -> None:
    inside = f"file://{tmp_path}/secret.flac"
    given = listing("nemo", corpus, ["../secret.flac"])
    assert plan(given, tmp_path / "one", allowed_root=str(tmp_path)) == []
    assert uris(tmp_path / "one") == ["in/audio/61-700-0000.flac", "secret.flac"]
    given = listing("nemo", corpus, [inside])
    assert plan(given, tmp_path / "two", allowed_root=str(tmp_path)) == []
    assert uris(tmp_path / "two") == uris(tmp_path / "one")
    with pytest.raises(UserError, match="leaves"):
        plan(listing("nemo", corpus, ["../../x.flac"]), tmp_path / "x", allowed_root=str(tmp_path))
    with pytest.raises(UserError, match="is no manifest"):
        plan(corpus, tmp_path / "x", allowed_root=str(tmp_path))


def test_a_line_listed_twice_is_refused_with_both_lines(corpus: Path, tmp_path: Path) -> None:
    given = listing("nemo", corpus, ["audio/61-701-0001.flac", "./audio//61-700-0000.flac"])
    with pytest.raises(UserError, match=r"lines 1 and 3 both list audio/61-700-0000\.flac"):
        plan(given, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_pieces_of_overlapping_regions_with_one_id_are_refused_with_both(
    corpus: Path, tmp_path: Path, waveform: Codec
) -> None:
    path = "audio/61-701-0001.flac"
    rows = [{"audio_filepath": path}, {"audio_filepath": path, "offset": 1.0, "duration": 0.3}]
    given = write_lines(corpus / "list.jsonl", rows)
    recipe = Recipe(waveform.spec, ("audio",), PlanSettings("nemo", 1.0, 1.0))
    output = open_storage(str(tmp_path / "out"))
    with pytest.raises(UserError, match=r"from 1\.000 s to 1\.500 s and .* 1\.000 s to 1\.300 s"):
        open_job(open_storage(str(given)), output, recipe, waveform)
    assert not output.exists("encode.json")


@pytest.mark.parametrize(
    ("kind", "line", "why"),
    [
        ("nemo", b"{broken", "list:2: not a NeMo"),
        ("nemo", b'{"text": "no path"}', "no 'audio_filepath'"),
        ("nemo", b'{"audio_filepath": "a.flac", "offset": -1}', "no time"),
        ("nemo", b"\xff\xfe", "list:2: cannot be read"),
        ("lhotse", b'{"sources": [{"type": "command", "source": "touch canary"}]}', "'command'"),
        ("lhotse", b'{"type": "MixedCut", "tracks": []}', "MixedCut"),
        ("fairseq", b"a.flac 100", "list:2: not a fairseq"),
    ],
)
def test_a_malformed_line_is_named(kind: str, line: bytes, why: str, tmp_path: Path) -> None:
    first = {"lhotse": b"\n", "fairseq": b".\n", "nemo": b'{"audio_filepath": "b.flac"}\n'}[kind]
    given = write(tmp_path / "list", first + line + b"\n")
    with pytest.raises(UserError, match=why):
        plan(given, tmp_path / "out", kind)


def test_files_that_a_manifest_lists_wrongly_are_quarantined(corpus: Path, tmp_path: Path) -> None:
    name = "audio/61-702-0002.flac"  # 0.75 s
    rows: list[dict[str, Any]] = [{"audio_filepath": "audio/gone.flac"}]
    rows += [
        {"audio_filepath": name, "offset": o, "duration": d} for o, d in [(0.1, 9), (0.7, 0.05)]
    ]
    rows += [{"audio_filepath": "audio/61-700-0000.flac"}]
    refusals = plan(write_lines(corpus / "list.jsonl", rows), tmp_path / "out")
    assert [refusal.code for refusal in refusals] == ["access", "truncated", "too_short"]
    assert uris(tmp_path / "out") == ["audio/61-700-0000.flac"]
