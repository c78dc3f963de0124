"""Validation measures what it says: the truth scores full marks, and items keep their length."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from resyn.codec import load_codec
from resyn.codec.frame_network import FrameCodecOutput
from resyn.config.train import TrainConfig
from resyn.methods import parse_method
from resyn.runtime.listening import score
from resyn.training.data import MicroBatch
from resyn.training.validation import Listener, Validator
from resyn.types import AudioBatch, CodecFrames, LatentBatch, LatentSpace

CPU = torch.device("cpu")
CODEC = load_codec("demo_24khz")


class Constant(nn.Module):
    """Answers the same to everything, counts, and says whether it trained meanwhile."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer, self.trained, self.calls = answer, False, 0

    def forward(self, *inputs: object, **named: object) -> object:
        self.trained |= self.training
        self.calls += 1
        return self.answer


@pytest.fixture(scope="module")
def encoded(make_tone) -> CodecFrames:
    tones = [make_tone(1.0, 24_000, seed) for seed in range(2)]
    return CODEC.encode(torch.from_numpy(np.stack(tones))[:, None])


def held(frames: CodecFrames, mask: torch.Tensor | None = None) -> MicroBatch:
    mean, std = frames.z.mean((0, 1)), frames.z.std((0, 1)).clamp_min(1e-5)
    space = LatentSpace(CODEC.codebooks, mean, std)
    return MicroBatch(LatentBatch(frames.z, frames.codes, space, mask), [1, 2])


def listening(heard: list[tuple[int, int]] | None = None) -> Listener:
    def compare(reference: np.ndarray, estimate: np.ndarray, rate: int) -> float | None:
        if heard is not None:
            heard.append((len(reference), len(estimate)))
        return score(reference, estimate, rate)

    return Listener("estoi", compare, 2, CODEC)


def test_the_truth_scores_full_marks_and_a_fault_does_not(encoded: CodecFrames):
    batch = held(encoded)
    assert isinstance(batch.batch, LatentBatch)
    validator = Validator(parse_method({"name": "onestep"}), batch, CODEC.spec, CPU)
    validator.listener = listening()
    truth = Constant(batch.batch.x0).train()
    best = validator.measure(truth)
    assert best == pytest.approx({"loss": 0, "latent_error": 0, "estoi": 1}, abs=1e-5)
    assert truth.training
    assert not truth.trained
    coarse = validator.measure(Constant(batch.batch.condition(1).x1))
    assert coarse["latent_error"] > 0.01
    assert coarse["estoi"] < 0.99


def test_an_item_is_heard_in_its_own_length(encoded: CodecFrames):
    mask = torch.ones(encoded.z.shape[:2], dtype=torch.bool)
    mask[1, 50:] = False
    batch, heard = held(encoded, mask), []
    assert isinstance(batch.batch, LatentBatch)
    validator = Validator(parse_method({"name": "onestep"}), batch, CODEC.spec, CPU)
    validator.listener = listening(heard)
    validator.measure(Constant(batch.batch.x0))
    assert heard == [(75 * 320, 75 * 320), (50 * 320, 50 * 320)]


def test_a_codec_is_judged_by_its_own_reconstruction(make_tone):
    audio = torch.from_numpy(make_tone(1.0, 24_000))[None, None]
    batch = MicroBatch(AudioBatch(audio), [1])
    validator = Validator(parse_method({"name": "codec"}), batch, CODEC.spec, CPU)
    validator.listener = Listener("estoi", score, 4)
    perfect = validator.measure(Constant(FrameCodecOutput(audio, torch.zeros(1))))
    assert perfect == pytest.approx({"loss": 0, "estoi": 1}, abs=1e-5)
    noise = 0.1 * torch.randn(audio.shape, generator=torch.Generator().manual_seed(0))
    assert validator.measure(Constant(FrameCodecOutput(noise, torch.zeros(1))))["estoi"] < 0.5


@pytest.mark.parametrize("name", ["onestep", "sb", "codec"])
def test_the_network_runs_alike_with_and_without_a_listener(encoded: CodecFrames, name: str):
    """Its weights may be divided among ranks, of which one listens."""
    latents = held(encoded)
    assert isinstance(latents.batch, LatentBatch)
    audio = torch.zeros(2, 1, 24_000)
    codec = (MicroBatch(AudioBatch(audio), [1, 2]), FrameCodecOutput(audio, torch.zeros(2)))
    batch, answer = codec if name == "codec" else (latents, torch.zeros_like(latents.batch.z))
    runs = []
    for listener in (None, Listener("heard", lambda *pair: 1.0, 1, CODEC)):
        network = Constant(answer)
        validator = Validator(parse_method({"name": name}), batch, CODEC.spec, CPU)
        validator.listener = listener
        assert ("heard" in validator.measure(network)) == (listener is not None)
        runs.append(network.calls)
    assert runs[0] == runs[1] > 1


def test_nothing_is_heard_without_a_listener(encoded: CodecFrames):
    validator = Validator(parse_method({"name": "onestep"}), held(encoded), CODEC.spec, CPU)
    figures = validator.measure(Constant(torch.zeros_like(encoded.z)))
    assert figures.keys() == {"loss", "latent_error"}


def test_a_best_metric_that_no_run_reports_is_refused():
    with pytest.raises(Exception, match=r"run\.best_metric"):
        TrainConfig.parse({"method": {"name": "sb"}, "run": {"best_metric": "loss"}})
