# ruff: noqa: E402
"""What tests of several rooms share: one Ray cluster, and folders of tones."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

# Before numpy and torch: two cores serve Ray's workers too, and waiting threads would eat them.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import pytest
import soundfile

from tests.s3_proxy import S3, running_s3

TreeMaker = Callable[..., Path]


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """The only Ray of a test session: two CPUs, no dashboard, files of its own."""
    import ray

    from resyn.runtime.ray_cluster import ensure_ray

    os.environ.pop("RAY_ADDRESS", None)
    folder = tempfile.mkdtemp(prefix="resyn-ray-")
    ensure_ray(num_cpus=2, folder=folder)
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def s3_session() -> Iterator[S3]:
    """One S3 server of a test session, behind a proxy that can do damage."""
    with running_s3() as store:
        yield store


@pytest.fixture
def s3(s3_session: S3) -> Iterator[S3]:
    """The S3 server without any fault armed."""
    s3_session.calm()
    yield s3_session
    s3_session.calm()


def tone(seconds: float, sample_rate: int = 16_000, seed: int = 0) -> np.ndarray:
    """A wobbling tone over noise, (S,) float32 within ±0.5; every seed sounds another."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    pitch = 110 + 30 * seed + 20 * np.sin(2 * np.pi * 1.3 * time)
    voiced = 0.2 * np.sin(2 * np.pi * np.cumsum(pitch) / sample_rate)
    noise = 0.03 * random.standard_normal(len(time))
    return (voiced * np.abs(np.sin(7 * time)) + noise).clip(-0.5, 0.5).astype(np.float32)


@pytest.fixture(scope="session")
def make_tone() -> Callable[..., np.ndarray]:
    """The function `tone(seconds, sample_rate, seed)`."""
    return tone


@pytest.fixture(scope="session")
def make_librilight() -> TreeMaker:
    """Writes a LibriLight-shaped tree of 16 kHz tones: `(root, seconds_of_each_file)`."""

    def write(root: Path, seconds: tuple[float, ...] = (2.0, 3.0, 2.5)) -> Path:
        for number, length in enumerate(seconds):
            book = root / "small" / f"{100 + number % 2}" / f"book_{number % 2}"
            book.mkdir(parents=True, exist_ok=True)
            stem = book / f"part_{number}"
            soundfile.write(stem.with_suffix(".flac"), tone(length, seed=number), 16_000)
            described = {"speaker": f"{100 + number % 2}", "book_meta": {"id": f"b{number % 2}"}}
            stem.with_suffix(".json").write_text(json.dumps(described))
        return root

    return write


@pytest.fixture(scope="session")
def make_librispeech() -> TreeMaker:
    """Writes a LibriSpeech-shaped tree of two utterances below `root`."""

    def write(root: Path) -> Path:
        chapter = root / "test-clean" / "61" / "70968"
        chapter.mkdir(parents=True)
        for number in range(2):
            name = f"61-70968-{number:04d}.flac"
            soundfile.write(chapter / name, tone(1.0, seed=number), 16_000)
        lines = "61-70968-0000 GIVE ME SOMETHING\n61-70968-0001 HE SAID\n"
        (chapter / "61-70968.trans.txt").write_text(lines)
        return root

    return write


@pytest.fixture(scope="session")
def spoil() -> Callable[[Path], None]:
    """Adds an empty file, a text named .flac and a cut FLAC to a folder."""

    def write(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "empty.flac").touch()
        (folder / "text.flac").write_text("not audio at all")
        soundfile.write(folder / "cut.flac", tone(4.0, seed=9), 16_000)
        whole = (folder / "cut.flac").read_bytes()
        (folder / "cut.flac").write_bytes(whole[: len(whole) // 2])

    return write
