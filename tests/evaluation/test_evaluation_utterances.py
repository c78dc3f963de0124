"""Reading the speech to evaluate on."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from resyn.codec.base import Codec
from resyn.errors import UserError
from resyn.evaluation.utterances import list_clips, read_clips, speaker_of
from tests.evaluation.fakes import speech_like


def test_a_librispeech_tree_gives_speakers_texts_and_whole_frames(
    codec: Codec, speech_folder: Path
) -> None:
    read = read_clips(str(speech_folder), list_clips(str(speech_folder)), codec.spec)
    assert [utt.utt_id for utt in read.utterances][:2] == ["1-10-0000", "1-10-0001"]
    assert read.utterances[1].text == "SENTENCE 1 OF VOICE 1"
    assert [utt.speaker for utt in read.utterances] == ["1", "1", "2", "2", "3", "3"]
    for utterance in read.utterances:
        assert utterance.audio.sample_rate == codec.spec.sample_rate
        assert len(utterance.audio.samples) % codec.spec.hop == 0
        assert 0 <= 1.3 - utterance.audio.seconds < 0.11


def test_a_limit_takes_turns_over_the_speakers(speech_folder: Path) -> None:
    names = list_clips(str(speech_folder), 4)
    assert [speaker_of(name) for name in names] == ["1", "1", "2", "3"]


def test_files_of_any_folder_with_faulty_ones_skipped(codec: Codec, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "same.wav", speech_like(0.5, 16_000), 16_000)
    (tmp_path / "broken.flac").write_text("not audio")
    (tmp_path / "empty.wav").touch()
    read = read_clips(str(tmp_path), list_clips(str(tmp_path)), codec.spec)
    assert [utt.utt_id for utt in read.utterances] == ["a/same", "b/same"]
    assert [utt.speaker for utt in read.utterances] == ["a", "b"]
    assert [source for source, _ in read.skipped] == ["broken.flac", "empty.wav"]
    assert all(reason for _, reason in read.skipped)


def test_nothing_to_read_is_one_clear_error(codec: Codec, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        list_clips(str(tmp_path / "absent"))
    with pytest.raises(UserError, match=r"no \.flac or \.wav"):
        list_clips(str(tmp_path))
    (tmp_path / "empty.wav").touch()
    with pytest.raises(UserError, match="no usable audio"):
        read_clips(str(tmp_path), list_clips(str(tmp_path)), codec.spec)
