"""An MLflow store for each test, and one tiny trained model for all of them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resyn.config.train import TrainConfig
from resyn.presets import preset
from resyn.runtime.ray_train import train_in_process
from resyn.runtime.tracking_store import prepare_store
from tests.tiny_shards import write_tiny_shards

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The slow first migration, once."""
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    prepare_store(f"sqlite:///{file}")
    return file


@pytest.fixture
def store_uri(empty_store: Path, tmp_path: Path) -> str:
    """A fresh, migrated SQLite store of the test's own."""
    file = tmp_path / "mlflow.db"
    shutil.copyfile(empty_store, file)
    return f"sqlite:///{file}"


@pytest.fixture(scope="session")
def tiny_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shards(tmp_path_factory.mktemp("tiny"))


def debug_config(shards: Path, output: Path, **values: object) -> TrainConfig:
    """Four steps of the bridge on the plain engine, in this process, unrecorded."""
    settings = {
        "shards": str(shards),
        "output": str(output),
        "steps": 4,
        "run.engine": "torch",
        "run.num_workers": 0,
        "tracking.uri": "off",
    }
    return preset("debug", "sb").override(settings | values)


@pytest.fixture(scope="session")
def trained(tiny_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run. Its tests must not write into it."""
    output = tmp_path_factory.mktemp("trained") / "sb"
    train_in_process(debug_config(tiny_shards, output), say=lambda line: None)
    return output


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Two raylets of one CPU on this machine, beside the shared cluster and hidden from others."""
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory(prefix="rc", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)  # Ray's sockets need a short path.
        node = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
        cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
        try:
            cluster.add_node(**node)
            yield cluster
        finally:
            cluster.shutdown()
