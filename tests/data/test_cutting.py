"""Voice activity to segments: LibriLight's rule by hand, and what holds for every input."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from resyn.audio.faults import AudioFault
from resyn.audio.io import decode
from resyn.codec import Codec
from resyn.data.cutting import Span, speech_spans, stitch
from resyn.data.decode import decode_unit
from resyn.data.job import Recipe, open_job, resolve
from resyn.data.plan import PlanSettings, read_rows, write_plan
from resyn.errors import UserError
from resyn.storage import open_storage


def samples_of(spans: list[Span]) -> list[int]:
    return [i for span in spans for i in range(span.start, span.start + span.num_samples)]


def test_stated_spans_are_sorted_merged_and_clipped() -> None:
    stated = [[5.0, 6.0], [1.0, 2.0], [1.5, 3.0], [3.0, 4.0], [5.25, 5.5], [9.0, 12.0], [11, 13]]
    assert speech_spans(stated, 10, 100) == [Span(10, 30), Span(50, 10), Span(90, 10)]
    assert speech_spans([[10.0, 11.0], [0.25, 0.25]], 10, 100) == []


@pytest.mark.parametrize(
    "stated",
    [
        *(None, {}, "0-1", [[1.0]], [[1.0, 2.0, 3.0]], [["a", "b"]], [3]),
        *([[2.0, 1.0]], [[-1.0, 1.0]], [[0.0, float("nan")]], [[0.0, float("inf")]]),
    ],
)
def test_what_states_no_spans_is_refused(stated: object) -> None:
    with pytest.raises(AudioFault) as fault:
        speech_spans(stated, 10, 100)
    assert fault.value.code == "json"


def test_stitching_by_hand() -> None:
    """30 + 20 fit into 60, 20 more do not; 70 is divided; a rest of 1 is levelled."""
    spans = [Span(0, 30), Span(40, 20), Span(70, 20), Span(100, 70), Span(200, 59), Span(300, 1)]
    assert stitch(spans, most=60, least=5) == [
        [Span(0, 30), Span(40, 20)],
        [Span(70, 20)],
        [Span(100, 60)],
        [Span(160, 10)],
        [Span(200, 59), Span(300, 1)],
    ]
    assert stitch([*spans[:2], Span(70, 60), Span(140, 1)], most=60, least=5) == [
        [Span(0, 30), Span(40, 20)],
        [Span(70, 30)],
        [Span(100, 30), Span(140, 1)],
    ]
    assert stitch([Span(3, 2)], most=60, least=5) == [[Span(3, 2)]]
    assert stitch([], most=60, least=5) == []


@pytest.mark.parametrize("seed", range(40))
def test_segments_cover_exactly_the_union_of_the_spans(seed: int) -> None:
    draw = random.Random(seed)
    pairs = [
        (draw.uniform(0, 300), draw.expovariate(1 / draw.choice([0.3, 4, 40]))) for _ in range(30)
    ]
    stated = [[start, start + length] for start, length in pairs]
    spans = speech_spans(stated, 10, 2_500)
    spoken = np.zeros(2_500, bool)
    for start, end in stated:
        spoken[int(start * 10) : int(end * 10)] = True
    segments = stitch(spans, most=200, least=7)
    covered = [sample for segment in segments for sample in samples_of(segment)]
    assert covered == np.flatnonzero(spoken).tolist()
    lengths = [sum(span.num_samples for span in segment) for segment in segments]
    assert max(lengths) <= 200
    assert min(lengths) >= min(7, len(covered))


@pytest.fixture
def book(tmp_path: Path, make_tone: Callable[..., np.ndarray]) -> Path:
    """Ten seconds in LibriLight's shape, without a description."""
    folder = tmp_path / "small" / "7" / "novel"
    folder.mkdir(parents=True)
    soundfile.write(folder / "part.flac", make_tone(10.0), 16_000)
    return folder


def describe(book: Path, activity: object) -> Path:
    content: dict[str, Any] = {"speaker": "7", "book_meta": {"id": "n"}}
    (book / "part.json").write_text(json.dumps(content | {"voice_activity": activity}))
    return book.parents[2] / "small"


def test_a_stitched_segment_is_its_spans_one_after_the_other(
    book: Path, tmp_path: Path, waveform: Codec
) -> None:
    root = describe(book, [[0.5, 2.0], [3.0, 4.0], [6.0, 7.25], [9.5, 99.0]])
    plan = PlanSettings("auto", 3.0, 1.0, cut_by_vad=True)
    job = open_job(
        open_storage(str(root)),
        open_storage(str(tmp_path / "out")),
        Recipe(waveform.spec, ("audio",), plan),
        waveform,
    )
    (unit,) = job.pending()
    rows = read_rows(job.output, unit)
    assert [(r["start"], r["num_samples"]) for r in rows.to_pylist()] == [
        (8_000, 40_000),
        (96_000, 28_000),
    ]
    made = decode_unit(job.input, rows, 16_000, with_audio=True)
    whole = decode((book / "part.flac").read_bytes()).samples
    parts = [np.r_[8_000:32_000, 48_000:64_000], np.r_[96_000:116_000, 152_000:160_000]]
    for flac, part in zip(made["audio"].to_pylist(), parts, strict=True):
        np.testing.assert_array_equal(decode(flac).samples, whole[part])


@pytest.mark.parametrize(
    ("activity", "code"),
    [
        *(("no description", "json"), (None, "json"), ([[2.0, 1.0]], "json")),
        *(([], "too_short"), ([[11.0, 12.0]], "too_short"), ([[1.0, 1.1], [2, 2.05]], "too_short")),
    ],
)
def test_books_without_usable_speech_are_quarantined_only_when_cut_by_it(
    activity: object, code: str, book: Path, tmp_path: Path
) -> None:
    root = open_storage(str(describe(book, activity)))
    if activity == "no description":
        (book / "part.json").unlink()
    for cut_by_vad, expected in ((True, {code: 1}), (False, {})):
        output = open_storage(str(tmp_path / f"{cut_by_vad}"))
        settings = PlanSettings("librilight", 60.0, 1.0, cut_by_vad=cut_by_vad)
        assert write_plan(root, output, settings).refused == expected


def test_cutting_needs_a_source_that_states_speech(book: Path, waveform: Codec) -> None:
    recipe = Recipe(waveform.spec, ("audio",), PlanSettings("auto", 60.0, 1.0, cut_by_vad=True))
    with pytest.raises(UserError, match="--cut-by-vad: source folder states no voice activity"):
        resolve(recipe, open_storage(str(book)))
