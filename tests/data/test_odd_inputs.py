"""One bad name, label or time is one refused file, and planning goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from resyn.audio.faults import AudioFault
from resyn.data.cutting import Span, speech_spans
from resyn.errors import UserError
from tests.data import shapes
from tests.data.planning import plan, told, uris


@pytest.fixture
def corpus(make_tone: Callable[..., np.ndarray], tmp_path: Path) -> Path:
    """LibriLight's shape, of three files."""
    return shapes.librilight(tmp_path / "in", shapes.make_clips(make_tone))


def descriptions(corpus: Path) -> list[Path]:
    return sorted(corpus.rglob("*.json"))


def test_a_name_in_another_encoding_is_refused(corpus: Path, tmp_path: Path) -> None:
    flac = next(corpus.rglob("*.flac")).read_bytes()
    for name in (b"caf\xe9.flac", b"caf\xe8.flac"):
        with open(os.path.join(os.fsencode(corpus), name), "wb") as file:
            file.write(flac)
    refusals = plan(corpus, tmp_path / "out")
    assert told(refusals) == [("caf?.flac", "access")] * 2
    assert "\\udce8" in refusals[0].detail
    assert refusals[0].utt_id != refusals[1].utt_id
    assert len(uris(tmp_path / "out")) == 3


@pytest.mark.parametrize(
    "text",
    ['{"speaker": "\\ud800"}', "[" * 200_000, '["no object"]', '{"speaker": 1' + "0" * 5000 + "}"],
    ids=["half a surrogate pair", "nested too deeply", "a list", "a number without end"],
)
def test_a_description_that_cannot_be_used_is_refused(
    corpus: Path, tmp_path: Path, text: str
) -> None:
    spoilt = descriptions(corpus)[1]
    spoilt.write_text(text)
    (refusal,) = plan(corpus, tmp_path / "out", source="librilight")
    assert (refusal.code, refusal.source_uri) == (
        "json",
        str(spoilt.relative_to(corpus).with_suffix(".flac")),
    )
    assert len(uris(tmp_path / "out")) == 2


def test_times_beyond_any_number_are_refused(corpus: Path, tmp_path: Path) -> None:
    spoken, *spoilt = descriptions(corpus)
    for file, activity in zip(spoilt, ([[0, 10**400]], [[0, 1e308], [1e308, 1e308]]), strict=True):
        file.write_text(json.dumps({"voice_activity": activity}))
    spoken.write_text(json.dumps({"voice_activity": [[0, 0.5]]}))
    refusals = plan(corpus, tmp_path / "out", source="librilight", cut_by_vad=True)
    assert [refusal.code for refusal in refusals] == ["json"]
    assert len(uris(tmp_path / "out")) == 2
    with pytest.raises(AudioFault):
        speech_spans([[0, 10**400]], 16_000, 16_000)
    assert speech_spans([[0.5, 1e308]], 16_000, 16_000) == [Span(8_000, 8_000)]


def test_a_manifest_with_times_beyond_any_number(corpus: Path, tmp_path: Path) -> None:
    name = str(next(corpus.rglob("*.flac")).relative_to(corpus))
    rows = [{"audio_filepath": name, "offset": 1e308}]
    rows += [{"audio_filepath": name, "offset": 0.1, "duration": 1e308}]
    rows += [{"audio_filepath": name}]
    refusals = plan(shapes.write_lines(corpus / "a.jsonl", rows), tmp_path / "out")
    assert told(refusals) == [(name, "too_short"), (name, "truncated")]
    assert uris(tmp_path / "out") == [name]
    rows[0]["offset"] = 10**400
    given = shapes.write_lines(corpus / "a.jsonl", rows)
    with pytest.raises(UserError, match=r"a\.jsonl:1: not a NeMo manifest's line"):
        plan(given, tmp_path / "none", source="nemo")
