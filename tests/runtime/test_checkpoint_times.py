"""Checkpoints between those that steps make due: by the clock, and before an end."""

from __future__ import annotations

import pytest

from resyn.presets import base_210m
from resyn.runtime.ray_train import fit, train_in_process, train_rank
from resyn.runtime.worker_group import scaling
from resyn.training.checkpoint import CheckpointStore, folder_name
from resyn.training.observer import Observer
from tests.runtime.conftest import debug_config
from tests.runtime.test_training_state import Stop, equal, stop_after, weights

RARELY = {"steps": 6, "run.checkpoint_every": 10**6, "run.log_every": 1}


def test_a_checkpoint_is_also_due_by_time_and_changes_nothing(tiny_shards, tmp_path):
    """After however little time; the first look is after the first step."""
    whole = debug_config(tiny_shards, tmp_path / "whole", **RARELY)
    fit(whole, lambda line: None)
    assert CheckpointStore(whole.output).folders() == [folder_name(6)]
    config = debug_config(tiny_shards, tmp_path / "cut", **RARELY)
    config = config.override({"run.checkpoint_minutes": 1e-9})
    with pytest.raises(Stop):
        train_in_process(config, say=stop_after(5))
    saved = CheckpointStore(config.output).folders()
    assert saved[0] == folder_name(1)
    assert saved[-1] < folder_name(5)
    lines: list[str] = []
    fit(config, lines.append)
    assert f"resuming at step {int(saved[-1][5:])}" in lines[0]
    assert equal(weights(config.output), weights(whole.output))


class Notice(Observer):
    """Says once that the end is near, as soon as it is asked; then sees what is saved."""

    def __init__(self) -> None:
        self.asked, self.saved = 0, []

    def ends_soon(self) -> bool:
        self.asked += 1
        return self.asked == 1

    def checkpoint(self, step, metrics) -> None:
        self.saved.append(step)


def test_a_notice_is_not_left_until_metrics_are_due(tiny_shards, tmp_path):
    config = debug_config(tiny_shards, tmp_path, **RARELY).override({"run.log_every": 50})
    notice = Notice()
    train_rank(config, lambda line: None, notice)
    assert notice.saved == [1, 6]


def test_a_group_grows_seldom(tiny_shards, tmp_path):
    """Each time costs a start from the last checkpoint; the paper's preset makes one more often."""
    config = debug_config(tiny_shards, tmp_path, **{"run.num_workers": "1:2"})
    minutes = base_210m("sb").run.checkpoint_minutes
    assert minutes is not None
    assert scaling(config.run).elastic_resize_monitor_interval_s >= 60 * minutes
