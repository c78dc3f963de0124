"""SQUIM objective: the real loading code, on random weights in the published file's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchaudio.models import squim_objective_base

from resyn.evaluation.metrics import Metric, Pair, ready_metrics
from resyn.evaluation.metrics.squim import CHECKPOINT
from tests.evaluation.fakes import speech_like

NAMES = ("squim_stoi", "squim_pesq", "squim_si_sdr")
SPEECH = speech_like(1.2, 16_000)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state dict of a network of random weights."""
    file = tmp_path_factory.mktemp("squim") / CHECKPOINT
    torch.manual_seed(0)
    torch.save(squim_objective_base().state_dict(), file)
    return file


def ready(source: Path | str) -> dict[str, Metric]:
    return ready_metrics(NAMES, dict.fromkeys(NAMES, str(source)))


def test_values_are_those_of_torchaudios_network(weights: Path) -> None:
    network = squim_objective_base().eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    with torch.inference_mode():
        theirs = [float(score) for score in network(torch.from_numpy(SPEECH)[None])]
    other = np.roll(SPEECH, 100)
    for source in (weights, weights.parent):
        metrics = ready(source)
        assert metrics["squim_pesq"].info(24_000).weights_sha256
        for reference in (SPEECH, other):
            found = [metrics[n].score(Pair(reference, SPEECH, 16_000)) for n in NAMES]
            assert [score.reason for score in found] == [None] * 3
            assert [score.value for score in found] == pytest.approx(theirs, abs=1e-4)


def test_without_weights_or_with_others_the_column_says_why(weights: Path, tmp_path: Path) -> None:
    assert {metric.missing() for metric in ready("").values()} == {
        "its weights are not given (--squim)"
    }
    empty = ready(tmp_path)["squim_stoi"].missing()
    assert empty == f"{tmp_path.name} has no {CHECKPOINT} (--squim)"
    torch.save({"weight": torch.zeros(1)}, tmp_path / CHECKPOINT)
    score = ready(tmp_path)["squim_stoi"].score(Pair(SPEECH, SPEECH, 16_000))
    assert score.value is None
    assert str(score.reason).startswith("the model does not load: ")
