"""What an engine is told: refused before any work where it cannot be, and the micro-batch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from resyn.config.train import BatchSettings, RunSettings, TrainConfig
from resyn.errors import UserError
from resyn.presets import preset
from resyn.training.data import BatchPlan
from resyn.training.micro_batch import largest_that_fits
from resyn.training.zero import check_engine, compiles, zero_settings, zero_stage

CLUSTER = Path(__file__).resolve().parents[2] / "cluster" / "deepspeed"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("{not json", "is no JSON"),
        ("[1]", "holds no JSON object"),
        ('{"train_batch_size": 8}', "'train_batch_size' follows from batch.batch_seconds"),
        ('{"optimizer": {"type": "Adam"}}', r"'optimizer' follows from optim\.\*"),
        ('{"zero_optimization": {"stage": 5}}', "stage must be 0, 1, 2 or 3"),
        ('{"zero_optimization": true}', "stage must be 0, 1, 2 or 3"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_deepspeed_file_is_one_clear_line(tmp_path, text, cause):
    file = tmp_path / "zero.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=f"zero.json.*{cause}") as caught:
        check_engine(RunSettings(deepspeed_config=str(file)), averaged=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("stage", range(4))
def test_the_stage_of_a_file_counts_instead_of_the_setting(stage):
    run = RunSettings(zero_stage=1, deepspeed_config=str(CLUSTER / f"zero{stage}.json"))
    assert zero_stage(zero_settings(run)) == stage
    inline = run.model_copy(update={"deepspeed_config": zero_settings(run)})
    assert zero_settings(inline) == zero_settings(run)
    if stage == 3:
        with pytest.raises(UserError, match="cannot average"):
            check_engine(run, averaged=True)
        with pytest.raises(UserError, match="compile: not with ZeRO stage 3"):
            check_engine(run.model_copy(update={"compile": True}), averaged=False)
    else:
        check_engine(run, averaged=True)


def test_the_torch_engine_takes_no_deepspeed_file():
    with pytest.raises(UserError, match="torch engine"):
        check_engine(RunSettings(engine="torch", deepspeed_config="zero.json"), averaged=False)


@pytest.mark.parametrize("gpu", [False, True])
def test_layers_are_compiled_on_a_gpu_unless_told_otherwise(gpu):
    run = RunSettings(use_gpu=gpu)
    assert compiles(run) is gpu
    assert compiles(run.model_copy(update={"compile": not gpu})) is not gpu
    assert not compiles(run.model_copy(update={"zero_stage": 3}))


def test_micro_batches_are_no_part_of_the_recipe():
    config = preset("base_210m", "sb")
    assert config.batch.micro_batch == "auto"
    assert config.batch.micro_limit == 8
    smaller = config.override({"batch.micro_batch": "4"})
    assert smaller.batch.micro_limit == 4
    assert smaller.recipe() == config.recipe()
    assert config.override({"batch.crop_seconds": 4}).recipe() != config.recipe()
    assert TrainConfig.parse(json.loads(smaller.model_dump_json())) == smaller
    for wrong in ("0", "many"):
        with pytest.raises(UserError, match=r"batch\.micro_batch"):
            config.override({"batch.micro_batch": wrong})


def divided(items: int, micro: int) -> BatchPlan:
    settings = BatchSettings(batch_seconds=items, crop_seconds=1, micro_batch=micro)
    return BatchPlan.divide(settings, 1)


def test_a_prime_share_is_not_done_one_by_one():
    assert largest_that_fits(97, lambda items: items, 50) == 49


@pytest.mark.parametrize("share", [1, 7, 25, 97, 100, 96])
@pytest.mark.parametrize("base", [0, 300])
@pytest.mark.parametrize("reports", [True, False], ids=["too much", "out of memory"])
def test_no_size_needs_fewer_passes_than_the_one_found_in_few_trials(share, base, reports):
    for budget in (base + 10, base + 55, base + 250, base + 960, base + 5000):
        tried = []

        def peak(items: int, budget: int = budget, tried: list[int] = tried) -> int:
            tried.append(items)
            need = base + 10 * items
            if need > budget and not reports:
                raise torch.OutOfMemoryError
            return need

        largest = max(n for n in range(1, share + 1) if base + 10 * n <= budget)
        found = largest_that_fits(share, peak, budget)
        assert divided(share, found) == divided(share, largest)
        assert divided(share, found).micro == found
        assert found in tried
        assert len(tried) <= 4


def test_memory_that_grows_faster_than_expected_is_noticed():
    def peak(items: int) -> int:
        return items**2

    assert largest_that_fits(96, peak, 1000) == 24


def test_a_crop_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match=r"batch\.crop_seconds.*shorten"):
        largest_that_fits(8, lambda items: 100 * items, 50)
