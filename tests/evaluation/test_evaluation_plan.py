"""What an evaluation decides before work starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from resyn.codec.base import Codec
from resyn.config.evaluate import EvaluateConfig
from resyn.evaluation.plan import make_plan
from resyn.evaluation.utterances import UtteranceSet


def test_without_fetching_the_hub_is_not_asked(
    config: EvaluateConfig,
    codec: Codec,
    data: UtteranceSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", pytest.fail)
    local = config.override({"metrics": "wer", "fetch": False})
    plan = make_plan(local, [], codec.spec, data)
    reason = "openai/whisper-large-v2 is not on this machine (--whisper)"
    assert plan.ready["wer"].missing() == reason
    quick = [config.override({"fetch": fetch}) for fetch in (True, False)]
    prints = {make_plan(one, [], codec.spec, data).fingerprint() for one in quick}
    assert len(prints) == 1
