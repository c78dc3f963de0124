"""How many actors a run has, where, and what it says about them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.encode import main
from resyn.config.encode import EncodeConfig
from resyn.errors import UserError
from resyn.runtime.codec_actors import Offer, offered, plan_actors

LAPTOP = Offer(cpus=4, gpus=0, most_gpus=0)
GPUS = Offer(cpus=32, gpus=4, most_gpus=4)
GROWING = Offer(cpus=8, gpus=0, most_gpus=16)


def config(**values: Any) -> EncodeConfig:
    return EncodeConfig().override({"input": "i", "output": "o", **values})


@pytest.mark.parametrize(
    ("written", "read", "shown"),
    [("3", (3, 3), "3"), (3, (3, 3), "3"), ("2:8", (2, 8), "2:8"), ([2, 8], (2, 8), "2:8")],
)
def test_a_pool_is_a_number_or_a_range(written: Any, read: tuple[int, int], shown: str) -> None:
    made = config(num_actors=written)
    assert made.num_actors == read
    assert yaml.safe_load(made.to_yaml())["num_actors"] == shown
    assert EncodeConfig.parse(yaml.safe_load(made.to_yaml())) == made


@pytest.mark.parametrize("written", ["0", "8:2", "0:4", "1:2:3", "many", ":"])
def test_other_pools_are_refused_in_one_line(written: str) -> None:
    with pytest.raises(UserError, match="num_actors") as caught:
        config(num_actors=written)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("offer", "values", "device", "pool"),
    [
        (LAPTOP, {}, "cpu", (4, 4)),
        (LAPTOP, {"threads_per_actor": 2}, "cpu", (2, 2)),
        (LAPTOP, {"threads_per_actor": 8}, "cpu", (1, 1)),
        (LAPTOP, {"num_actors": "2:3"}, "cpu", (2, 3)),
        (LAPTOP, {"num_actors": "200:300"}, "cpu", (50, 50)),
        (GPUS, {}, "cuda", (4, 4)),
        (GPUS, {"device": "cpu"}, "cpu", (32, 32)),
        (GPUS, {"num_gpus_per_actor": 0.5}, "cuda", (8, 8)),
        (GPUS, {"num_gpus_per_actor": 0.4}, "cuda", (8, 8)),
        (GPUS, {"num_gpus_per_actor": 0.7, "num_actors": "1:2"}, "cuda", (1, 2)),
        (GROWING, {}, "cuda", (1, 16)),
        (GROWING, {"device": "cuda", "num_gpus_per_actor": 0.25}, "cuda", (1, 50)),
        (GROWING, {"num_actors": "8"}, "cuda", (8, 8)),
    ],
)
def test_actors_follow_what_the_cluster_offers(
    offer: Offer, values: dict[str, Any], device: str, pool: tuple[int, int]
) -> None:
    """For 50 units, above which no pool grows."""
    actors = plan_actors(config(**values), offer, num_units=50)
    assert (actors.device, (actors.least, actors.most)) == (device, pool)
    assert actors.gpus == (values.get("num_gpus_per_actor", 1.0) if device == "cuda" else 0.0)
    assert actors.gpus * actors.least <= max(offer.most_gpus, 8.0)


@pytest.mark.parametrize(
    ("offer", "values", "compiled"),
    [
        (LAPTOP, {}, False),
        (LAPTOP, {"compile": True}, True),
        (GPUS, {}, True),
        (GPUS, {"compile": "off"}, False),
        (GPUS, {"device": "cpu"}, False),
        (GPUS, {"codec": "demo_24khz"}, False),
    ],
)
def test_compiling_is_for_gpus_unless_asked_for(
    offer: Offer, values: dict[str, Any], compiled: bool
) -> None:
    assert plan_actors(config(**values), offer, 50).options.compiled is compiled


@pytest.mark.parametrize(
    ("offer", "values", "seconds"),
    [
        (LAPTOP, {}, 1.0),
        (GPUS, {"device": "cpu"}, 1.0),
        (GPUS, {}, 30.0),
        (GPUS, {"segment_seconds": 12.5}, 12.5),
        (GPUS, {"cut_by_vad": True}, 60.0),
        (GPUS, {"cut_by_vad": True, "bucket_seconds": 5.0}, 5.0),
    ],
)
def test_a_gpu_meets_one_length(offer: Offer, values: dict[str, Any], seconds: float) -> None:
    assert plan_actors(config(**values), offer, 50).bucket_seconds == seconds


def test_cuda_without_a_gpu_ends_before_any_work(
    tmp_path: Path, make_librilight: Callable[..., Path]
) -> None:
    assert offered().most_gpus == 0, "this test is for machines without a GPU"
    tree = make_librilight(tmp_path / "tree", seconds=(1.0,))
    command = ["--input", str(tree), "--output", str(tmp_path / "out"), "--device", "cuda"]
    with pytest.raises(UserError, match=r"--device cuda: the cluster offers no GPU .*--device cpu"):
        main([*command, "--codec", "demo_24khz"])
    assert not (tmp_path / "out").exists()


def test_a_dry_run_names_device_actors_and_precision(
    tmp_path: Path, make_librilight: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    tree = make_librilight(tmp_path / "tree", seconds=(1.0, 1.0, 1.0))
    command = ["--input", str(tree), "--output", str(tmp_path / "out"), "--codec", "demo_24khz"]
    flags = ["--unit-minutes", "0.01", "--num-actors", "1:2", "--set", "precision=bf16"]
    main([*command, *flags, "--dry-run"])
    printed = capsys.readouterr().out
    assert (
        "actors: 1 to 2 on cpu, bf16, not compiled, batches of 1 by 1 s, at most 4 units under "
        "way per actor" in printed
    )
    assert "precision: bf16" in printed
    assert not (tmp_path / "out").exists()
