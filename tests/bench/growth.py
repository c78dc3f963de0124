"""Time and memory of the Ray pipeline as the corpus grows: growth.py [SEGMENTS ...].

Each size runs in a process and a Ray of its own: files of a quarter of a second (hard links to a
few), the codec that is none, units of 250. Time is planning, encoding and the audit; the start-up,
to the first unit's commit, is in it and printed, and hides a thousand segments whole. Memory is
the largest that the driver, a codec actor and any other worker held of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import soundfile

from resyn.codec import load_codec
from resyn.config.encode import EncodeConfig
from resyn.data.audit import audit
from resyn.data.job import Recipe, open_job
from resyn.data.plan import PlanSettings
from resyn.storage import open_storage
from tests.conftest import tone

DEFAULT = (1000, 10_000, 100_000)
SECONDS, PER_UNIT, PER_FOLDER = 0.25, 250, 1000
#: What the title of a Ray worker holds, and what it is: a codec actor, or one for the other steps.
KINDS = {"Encoder": "actor MiB", "ray::": "worker MiB"}


def main() -> None:
    """Measure each size and print what a decade costs."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(int(sys.argv[2]), Path(sys.argv[3]))))
        return
    sizes = [int(argument) for argument in sys.argv[1:]] or list(DEFAULT)
    last: dict[str, float] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--one", str(size), folder]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"{size} segments: " + ", ".join(f"{k} {v:.2f}" for k, v in found.items()))
        if last:
            ratios = {key: found[key] / last[key] for key in found}
            print("  times the last: " + ", ".join(f"{k} {v:.2f}" for k, v in ratios.items()))
        last = found


def measure(size: int, folder: Path) -> dict[str, float]:
    """Seconds by part and MiB by process of encoding `size` segments."""
    from resyn.runtime.ray_cluster import ensure_ray
    from resyn.runtime.ray_data import encode_units

    write_links(folder / "audio", size)
    ensure_ray(num_cpus=2)
    config = EncodeConfig(codec="waveform_24khz", columns=("audio",))
    codec = load_codec(config.codec)
    settings = PlanSettings("folder", 30.0, PER_UNIT * SECONDS / 60)
    source, output = open_storage(str(folder / "audio")), open_storage(str(folder / "out"))
    with peaks() as memory:
        begun = time.perf_counter()
        job = open_job(source, output, Recipe(codec.spec, ("audio",), settings), codec)
        planned = time.perf_counter()
        commits = [time.perf_counter() for _ in encode_units(job, config, job.pending())]
        encoded = time.perf_counter()
        report = audit(output, contents=False)
        audited = time.perf_counter()
    assert report.clean, report
    parts = {"plan s": planned - begun, "audit s": audited - encoded}
    parts["encode s"] = encoded - planned
    return {"time s": sum(parts.values()), **parts, "start-up s": commits[0] - planned, **memory}


def write_links(folder: Path, size: int) -> None:
    """`size` names of eight files, a thousand to a folder."""
    folder.mkdir()
    for number in range(8):
        file = folder.parent / f"{number}.wav"
        soundfile.write(file, tone(SECONDS, 16_000, number), 16_000)
    for number in range(size):
        inner = folder / f"{number // PER_FOLDER:04d}"
        inner.mkdir(exist_ok=True)
        (inner / f"{number:06d}.wav").hardlink_to(folder.parent / f"{number % 8}.wav")


@contextmanager
def peaks() -> Iterator[dict[str, float]]:
    """MiB that the driver, and the largest Ray worker of a kind, held while the block ran."""
    found = dict.fromkeys(["driver MiB", *KINDS.values()], 0.0)
    driver, stop = psutil.Process(), threading.Event()

    def watch() -> None:
        while not stop.wait(0.25):
            found["driver MiB"] = max(found["driver MiB"], own_memory(driver))
            for child in driver.children(recursive=True):
                if kind := kind_of(child):
                    found[kind] = max(found[kind], own_memory(child))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        stop.set()
        watcher.join()


def kind_of(process: psutil.Process) -> str:
    """Which of `KINDS` a Ray worker is by its title; empty for another process."""
    try:
        title = process.cmdline()[0]
    except (psutil.Error, IndexError):
        return ""
    return next((kind for mark, kind in KINDS.items() if mark in title), "")


def own_memory(process: psutil.Process) -> float:
    """Resident MiB that are not shared with others; 0 for a process that has ended."""
    try:
        memory = process.memory_info()
    except psutil.Error:
        return 0.0
    return (memory.rss - memory.shared) / 2**20


if __name__ == "__main__":
    main()
