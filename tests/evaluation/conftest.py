"""Three voices, the toy codec, and one evaluation of three models that know the answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor

from resyn.codec.base import Codec
from resyn.config.evaluate import EvaluateConfig
from resyn.evaluation.evaluate import evaluate
from resyn.evaluation.results import Results
from resyn.evaluation.systems import EvaluatedModel
from resyn.evaluation.utterances import UtteranceSet, list_clips, read_clips
from resyn.types import CodecFrames, LatentSpace
from tests.evaluation.fakes import LEVELS, KnowingModel, ToyCodec, Word, speech_like
from tests.evaluation.tiny_models import write_ecapa, write_whisper

QUICK = ("si_snr", "estoi", "log_mel", "latent_error", "rtf")


@pytest.fixture(scope="session")
def codec() -> Codec:
    """The toy codec."""
    return ToyCodec()


@pytest.fixture(scope="session")
def speech_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LibriSpeech-shaped tree: three voices, two utterances each, 16 kHz."""
    root = tmp_path_factory.mktemp("speech")
    for voice in range(1, 4):
        chapter = root / "test" / str(voice) / f"{voice}0"
        chapter.mkdir(parents=True)
        lines: list[str] = []
        for number in range(2):
            utt_id = f"{voice}-{voice}0-{number:04d}"
            sound = speech_like(1.2 + 0.1 * number, 16_000, seed=2 * voice + number)
            soundfile.write(chapter / f"{utt_id}.flac", sound, 16_000)
            lines.append(f"{utt_id} SENTENCE {number} OF VOICE {voice}\n")
        (chapter / f"{voice}-{voice}0.trans.txt").write_text("".join(lines))
    return root


@pytest.fixture(scope="session")
def data(codec: Codec, speech_folder: Path) -> UtteranceSet:
    """Three of its utterances."""
    return read_clips(str(speech_folder), list_clips(str(speech_folder), 3), codec.spec)


@pytest.fixture(scope="session")
def models(codec: Codec, data: UtteranceSet) -> list[EvaluatedModel]:
    """An oracle, a walk down the levels, and a bridge that is worse than doing nothing."""
    clips = [torch.from_numpy(utt.audio.samples)[None, None] for utt in data.utterances]
    frames = [codec.encode(clip) for clip in clips]
    known = {one.codes[:, :1].numpy().tobytes(): one for one in frames}
    z = torch.cat([one.z[0] for one in frames])
    space = LatentSpace(codec.codebooks, z.mean(0), z.std(0))

    def noisy(one: CodecFrames, x1: Tensor, nfe: int, seed: int) -> Tensor:
        noise = torch.randn(x1.shape, generator=torch.Generator().manual_seed(seed))
        return x1 + 0.2 * nfe * noise

    def make(name: str, title: str, most: int, answer: Callable[..., Tensor]) -> EvaluatedModel:
        return EvaluatedModel(
            f"/runs/{name}",
            f"{name}-hash",
            KnowingModel(Word(name, title), most, space, known, answer),
        )

    return [
        make("sb", "Schrödinger Bridge", 1000, noisy),
        make("onestep", "One-step regression", 1, lambda one, x1, nfe, seed: one.z),
        make(
            "c2f",
            "Coarse-to-fine",
            LEVELS - 1,
            lambda one, x1, nfe, seed: codec.dequantize(one.codes[:, : nfe + 1]),
        ),
    ]


@pytest.fixture(scope="session")
def whisper_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Whisper."""
    return write_whisper(tmp_path_factory.mktemp("models") / "whisper")


@pytest.fixture(scope="session")
def ecapa_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random ECAPA-TDNN."""
    return write_ecapa(tmp_path_factory.mktemp("models") / "ecapa")


@pytest.fixture
def config(tmp_path: Path) -> EvaluateConfig:
    """Quick metrics, an output of its own."""
    values = {"output": str(tmp_path), "metrics": list(QUICK), "nfe": [1, 3, 4]}
    return EvaluateConfig().override(values)


@pytest.fixture(scope="session")
def evaluated(
    codec: Codec,
    data: UtteranceSet,
    models: list[EvaluatedModel],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Results]:
    """One evaluation of the three models, shared; its folder and its results."""
    folder = tmp_path_factory.mktemp("evaluation")
    values = {"output": str(folder), "metrics": list(QUICK), "nfe": [1, 3, 4]}
    return folder, evaluate(EvaluateConfig().override(values), models, codec, data)
