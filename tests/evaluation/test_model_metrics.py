"""Metrics that run a model: the real loading code, on tiny models of the real layout."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from resyn.evaluation.metrics import AUDIO_METRICS, Metric, Pair, ready_metrics, weights
from resyn.evaluation.metrics.ecapa import read_settings
from resyn.evaluation.metrics.weights import NoValueError, find_weights
from resyn.evaluation.metrics.wer import FILES, _open
from tests.evaluation.fakes import speech_like
from tests.evaluation.tiny_models import MOST_TOKENS, WINDOW

SPEECH = speech_like(1.5, 16_000)
OTHER = speech_like(1.5, 16_000, seed=3)


def pair(estimate: np.ndarray, text: str | None = None) -> Pair:
    return Pair(SPEECH, estimate, 16_000, text)


@pytest.fixture(scope="session")
def wer(whisper_folder: Path) -> Metric:
    return ready_metrics(["wer"], {"wer": str(whisper_folder)})["wer"]


@pytest.fixture(scope="session")
def sim(ecapa_folder: Path) -> Metric:
    return ready_metrics(["sim"], {"sim": str(ecapa_folder)})["sim"]


@pytest.fixture(scope="session")
def heard(whisper_folder: Path, wer: Metric) -> list[str]:
    """What the tiny recogniser hears in SPEECH, in American spelling."""
    assert wer.weights is not None
    recogniser = _open(wer.weights.folder, wer.weights.sha256, "cpu")
    return recogniser.normalise(recogniser.transcribe(SPEECH, 16_000)).split()


def test_wer_counts_every_kind_of_error_once(wer: Metric, heard: list[str]) -> None:
    assert len(heard) >= 4

    def errors(words: list[str]) -> float:
        score = wer.score(pair(SPEECH, " ".join(words)))
        assert score.words == len(words), score.reason
        return round((score.value or 0) * len(words) / 100, 9)

    assert errors(heard) == 0
    assert errors(["zebra", *heard[1:]]) == 1
    assert errors([*heard, "zebra", "zebra"]) == 2
    assert errors(heard[:-1]) == 1
    assert errors(["zebra"]) == len(heard)


def test_both_sides_of_wer_pass_whispers_normaliser(wer: Metric, heard: list[str]) -> None:
    british = {"color": "COLOUR", "harbor": "Harbour", "gray": "grey"}
    shouted = ", ".join(british.get(word, word.upper()) for word in heard) + "! [noise]"
    assert wer.score(pair(SPEECH, shouted)).value == 0


def test_audio_longer_than_a_window_is_heard_to_its_end(wer: Metric) -> None:
    long = speech_like(2.6 * WINDOW, 16_000)
    score = wer.score(Pair(long, long, 16_000, "zebra"))
    assert score.value is not None, score.reason
    assert score.value / 100 > MOST_TOKENS


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "no transcript (.trans.txt) beside the audio"),
        ("[..]", "the transcript has no words"),
    ],
)
def test_without_words_there_is_no_error_rate(wer: Metric, text: str | None, reason: str) -> None:
    assert wer.score(pair(SPEECH, text)).reason == reason


def test_similarity_is_that_of_speechbrains_own_class(
    sim: Metric, ecapa_folder: Path, tmp_path: Path
) -> None:
    from speechbrain.inference.classifiers import EncoderClassifier

    theirs = EncoderClassifier.from_hparams(
        str(ecapa_folder), savedir=tmp_path, overrides={"pretrained_path": str(ecapa_folder)}
    )
    assert theirs is not None
    one, other = (theirs.encode_batch(torch.from_numpy(x)).flatten() for x in (SPEECH, OTHER))
    expected = torch.nn.functional.cosine_similarity(one, other, dim=0).item()
    assert sim.score(pair(OTHER)).value == pytest.approx(expected, abs=1e-6)
    assert sim.score(pair(SPEECH)).value == pytest.approx(1.0, abs=1e-6)
    assert expected < 0.999


def test_a_folder_of_weights_cannot_run_code(
    sim: Metric, ecapa_folder: Path, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    settings = (ecapa_folder / "hyperparams.yaml").read_text()
    yaml_first = f"bird: !apply:os.mkdir ['{canary}']\n{settings}"
    assert read_settings(yaml_first) == read_settings(settings)

    class Hostile:
        def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
            return os.mkdir, (str(canary),)

    folder = Path(shutil.copytree(ecapa_folder, tmp_path / "hostile"))
    torch.save(Hostile(), folder / "embedding_model.ckpt")
    score = ready_metrics(["sim"], {"sim": str(folder)})["sim"].score(pair(OTHER))
    assert score.value is None
    assert "the model does not load" in str(score.reason)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("!new:speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN", "!new:x.Y", "is no ECAPA_TDNN"),
        ("n_mels: 16\n", "n_mels: !apply:os.getpid []\n", "no plain value"),
        ("n_mels: 16\n", "n_mels: 16\nsample_rate: 8000\n", "8000 Hz"),
    ],
)
def test_another_model_than_ecapa_is_refused(
    ecapa_folder: Path, old: str, new: str, reason: str
) -> None:
    settings = (ecapa_folder / "hyperparams.yaml").read_text()
    assert old in settings
    with pytest.raises(NoValueError, match=reason):
        read_settings(settings.replace(old, new, 1))


def test_weights_are_known_by_their_bytes(whisper_folder: Path, tmp_path: Path) -> None:
    first = find_weights(str(whisper_folder), FILES)
    copy = Path(shutil.copytree(whisper_folder, tmp_path / "elsewhere"))
    (copy / "README.md").write_text("not part of the model")
    assert find_weights(str(copy), FILES).sha256 == first.sha256
    (copy / "normalizer.json").write_text("{}")
    assert find_weights(str(copy), FILES).sha256 != first.sha256
    infos = [
        ready_metrics(["wer"], {"wer": str(folder)})["wer"].info(24_000)
        for folder in (whisper_folder, copy)
    ]
    assert infos[0].identity() != infos[1].identity()
    assert infos[0].backend.startswith("transformers ")
    assert f"{whisper_folder.name} ({first.sha256[:8]})" in infos[0].backend


def test_missing_files_and_folders_are_named(whisper_folder: Path, tmp_path: Path) -> None:
    partial = Path(shutil.copytree(whisper_folder, tmp_path / "partial"))
    (partial / "model.safetensors").unlink()
    for source, reason in (
        (str(partial), r"partial has no model\*.safetensors \(--whisper\)"),
        (str(tmp_path / "nowhere"), "--whisper names nowhere: no such folder, and no hub name"),
    ):
        with pytest.raises(NoValueError, match=reason):
            find_weights(source, FILES)


def test_damaged_weights_are_a_reason(whisper_folder: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(whisper_folder, tmp_path / "broken"))
    (broken / "model.safetensors").write_bytes(b"\0" * 100)
    metric = ready_metrics(["wer"], {"wer": str(broken)})["wer"]
    for _ in range(2):
        score = metric.score(pair(SPEECH, "the cat"))
        assert score.value is None
        assert str(score.reason).startswith("the model does not load: ")


def test_a_hub_name_is_looked_up_on_this_machine_first(
    whisper_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--openai--whisper-large-v2"
    shutil.copytree(whisper_folder, repository / "snapshots" / ("ab" * 20))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("ab" * 20)
    found = find_weights("openai/whisper-large-v2", FILES, download=False)
    assert found.name == "openai/whisper-large-v2"
    assert found.sha256 == find_weights(str(whisper_folder), FILES).sha256


def test_a_hub_that_is_silent_or_out_of_bounds_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(weights, "HUB_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes the call and never answers
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(NoValueError, match=r"the hub does not give it \(ReadTimeout\)"):
            find_weights("openai/whisper-large-v2", FILES)
        with pytest.raises(NoValueError, match="openai/whisper-large-v2 is not on this machine"):
            find_weights("openai/whisper-large-v2", FILES, download=False)


@pytest.mark.parametrize("name", [n for n, m in AUDIO_METRICS.items() if m.files])
def test_a_metric_without_its_model_says_why(name: str) -> None:
    metric = ready_metrics([name], {name: "no model"})[name]
    score = metric.score(pair(OTHER, "the cat"))
    assert score.value is None
    assert score.reason == metric.missing()
    assert "names no model: no such folder" in metric.missing()
    assert metric.info(24_000).weights is None
