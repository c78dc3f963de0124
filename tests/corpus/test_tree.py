"""The written trees: shape, contents, determinism, resumption and refusals."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from resyn.corpus import CorpusSummary, voices, write_librilight, write_librispeech
from resyn.errors import UserError


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CorpusSummary]:
    root = tmp_path_factory.mktemp("light")
    return root, write_librilight(root, minutes=2, seed=3)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CorpusSummary]:
    root = tmp_path_factory.mktemp("speech")
    return root, write_librispeech(root, utterances=18, seed=3)


def _contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def _interrupt(_done: float, _total: float) -> None:
    raise KeyboardInterrupt


def _check_audio(path: Path, shortest: float, longest: float) -> float:
    """Assert that a file is audible mono PCM16 at 16 kHz of the right length; its seconds."""
    info = soundfile.info(path)
    samples, _ = soundfile.read(path)
    assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
    assert shortest <= info.duration <= longest
    assert np.abs(samples).max() < 0.99
    assert np.sqrt(np.mean(samples**2)) > 0.01
    assert np.any(samples[:1000] != 0)
    return float(info.duration)


def test_librilight_files_and_metadata(light: tuple[Path, CorpusSummary]) -> None:
    root, summary = light
    files = sorted(root.glob("small/*/*/*.flac"))
    seconds = [_check_audio(path, 20.0, 60.0) for path in files]
    assert summary == CorpusSummary(len(files), pytest.approx(sum(seconds)), len(files))
    assert 120 <= summary.seconds <= 180
    for path, duration in zip(files, seconds, strict=True):
        described = json.loads(path.with_suffix(".json").read_text())
        assert set(described) == {"speaker", "book_meta", "snr", "voice_activity"}
        assert {"id", "title", "genre", "meta_genre"} <= set(described["book_meta"])
        assert described["speaker"] == path.parts[-3]
        assert 20 < described["snr"] < 60
        edges = np.ravel(described["voice_activity"])
        assert len(edges) >= 4
        assert np.all(np.diff(edges) > 0)
        assert edges[0] >= 0
        assert edges[-1] <= duration


def test_librispeech_files_and_transcripts(speech: tuple[Path, CorpusSummary]) -> None:
    root, summary = speech
    files = {path.stem: path for path in root.glob("test-clean/*/*/*.flac")}
    texts = {}
    for listing in root.glob("test-clean/*/*/*.trans.txt"):
        lines = listing.read_text().splitlines()
        assert listing.name == "{}-{}.trans.txt".format(*listing.parts[-3:-1])
        assert [line.split()[0] for line in lines] == sorted(
            p.stem for p in listing.parent.glob("*.flac")
        )
        texts |= dict(line.split(" ", 1) for line in lines)
    assert texts.keys() == files.keys()
    assert len(set(texts.values())) == summary.files == len(files) == 18
    assert all(re.fullmatch(r"[A-Z']+( [A-Z']+)+", text) for text in texts.values())
    seconds = [_check_audio(path, 2.5, 6.0) for path in files.values()]
    assert summary.seconds == pytest.approx(sum(seconds))
    assert all(re.fullmatch(r"(\d+)-(\d+)-\d{4}", stem) for stem in files)


def test_speakers_are_disjoint(
    light: tuple[Path, CorpusSummary], speech: tuple[Path, CorpusSummary]
) -> None:
    readers = {path.name for path in (light[0] / "small").iterdir()}
    held_out = {path.name for path in (speech[0] / "test-clean").iterdir()}
    assert readers <= {voice.id for voice in voices("train")}
    assert held_out == {voice.id for voice in voices("eval")}
    assert speech[1].speakers == len(held_out)


def test_equal_seeds_give_equal_bytes_even_when_interrupted(
    light: tuple[Path, CorpusSummary], tmp_path: Path
) -> None:
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            write_librilight(tmp_path, minutes=2, seed=3, progress=_interrupt)
    [kept] = tmp_path.rglob("*.flac")
    before = kept.stat().st_mtime_ns
    assert not (tmp_path / "corpus.json").exists()
    assert write_librilight(tmp_path, minutes=2, seed=3) == light[1]
    assert kept.stat().st_mtime_ns == before
    assert _contents(tmp_path) == _contents(light[0])


def test_librispeech_resumes_to_equal_bytes(
    speech: tuple[Path, CorpusSummary], tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_librispeech(tmp_path, utterances=18, seed=3, progress=_interrupt)
    assert write_librispeech(tmp_path, utterances=18, seed=3) == speech[1]
    assert _contents(tmp_path) == _contents(speech[0])


def test_another_seed_gives_other_audio(speech: tuple[Path, CorpusSummary], tmp_path: Path) -> None:
    write_librispeech(tmp_path, utterances=8, seed=4)
    assert not {data for name, data in _contents(tmp_path).items() if name.endswith("flac")} & set(
        _contents(speech[0]).values()
    )


def test_a_complete_corpus_is_not_touched(light: tuple[Path, CorpusSummary]) -> None:
    def fail(_done: float, _total: float) -> None:
        raise AssertionError("nothing was to be written")

    assert write_librilight(light[0], minutes=2, seed=3, progress=fail) == light[1]


def test_other_parameters_over_the_same_root_are_refused(
    light: tuple[Path, CorpusSummary], speech: tuple[Path, CorpusSummary]
) -> None:
    with pytest.raises(UserError, match=rf"{re.escape(str(light[0]))}.*delete that folder"):
        write_librilight(light[0], minutes=2, seed=4)
    with pytest.raises(UserError, match="split=medium"):
        write_librilight(light[0], minutes=2, seed=3, split="medium")
    with pytest.raises(UserError, match="utterances=17"):
        write_librispeech(speech[0], utterances=17, seed=3)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious.flac").write_bytes(b"recordings")
    with pytest.raises(UserError, match="is not empty"):
        write_librilight(tmp_path, minutes=1)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.flac"]


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_sizes_are_refused(tmp_path: Path, minutes: float) -> None:
    with pytest.raises(ValueError, match="minutes"):
        write_librilight(tmp_path / "x", minutes=minutes)
    with pytest.raises(ValueError, match="utterances"):
        write_librispeech(tmp_path / "x", utterances=0)
    with pytest.raises(ValueError, match="cannot name a folder"):
        write_librilight(tmp_path / "x", minutes=1, split="../up")
    assert not (tmp_path / "x").exists()
