"""The Ray pipeline's steady state against bare loops on the same two cores.

Ray fetches, decodes, encodes, packs, writes and commits. The bare loops hold the same batches in
memory and call the codec on them, nothing else: one process with two threads, and two processes
with one thread each, which is the most that two cores give.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import ray
import soundfile
import torch
from torch import Tensor

from resyn.codec import Codec, load_codec
from resyn.config.encode import EncodeConfig
from resyn.data.job import Job, Recipe, open_job
from resyn.data.plan import PlanSettings
from resyn.runtime.memory import keep_freed_memory
from resyn.runtime.ray_cluster import ensure_ray
from resyn.runtime.ray_data import encode_units
from resyn.storage import open_storage
from tests.conftest import tone
from tests.interleaved import print_ratios, seconds

CODEC = "encodec_24khz_random"
FILES, SECONDS, PER_UNIT, CORES, ROUNDS = 48, 10, 4, 2, 3
COLUMNS = ("codes", "z")


def main() -> None:
    """Print the ratios."""
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(FILES):
            file = folder / "audio" / f"{number}.wav"
            file.parent.mkdir(exist_ok=True)
            soundfile.write(file, tone(SECONDS, 24_000, number % 8), 24_000)
        ensure_ray(num_cpus=CORES)
        context = get_context("spawn")
        with ProcessPoolExecutor(CORES, context, initializer=loaded_codec) as pool:
            list(pool.map(bare_loop, [8] * CORES))
            measure(folder, pool)
    ray.shutdown()


def measure(folder: Path, pool: ProcessPoolExecutor) -> None:
    """Alternate the three and print the ratios of their speeds."""
    threads, processes, starts = [], [], []
    shares = [FILES // CORES] * CORES
    codec = loaded_codec()
    bare_loop(8)
    for number in range(ROUNDS):
        torch.set_num_threads(CORES)
        one = FILES * SECONDS / seconds(lambda: bare_loop(FILES))
        torch.set_num_threads(1)
        two = FILES * SECONDS / seconds(lambda: list(pool.map(bare_loop, shares)))
        start, speed = ray_speed(folder, number, codec)
        print(f"times real time: Ray {speed:.1f}, two threads {one:.1f}, two processes {two:.1f}")
        threads.append(speed / one)
        processes.append(speed / two)
        starts.append(start)
    print_ratios("Ray ÷ bare loop with two threads", threads)
    print_ratios("Ray ÷ two bare processes of one thread", processes)
    print(f"start-up, to the first unit's commit: {sorted(starts)[ROUNDS // 2]:.1f} s (median)")


def ray_speed(folder: Path, number: int, codec: Codec) -> tuple[float, float]:
    """Seconds to the first output, and audio seconds per second from there on.

    The clock starts at the first output of the last actor to give one: until then the others'
    next outputs are under way.
    """
    job = plan(folder, folder / f"out{number}", codec)
    units = job.pending()
    config = EncodeConfig(codec=CODEC, columns=COLUMNS, num_actors=CORES)
    begun = time.perf_counter()
    times = [time.perf_counter() for _ in encode_units(job, config, units)]
    counted = (len(times) - CORES) * PER_UNIT * SECONDS
    return times[0] - begun, counted / (times[-1] - times[CORES - 1])


def plan(folder: Path, output: Path, codec: Codec) -> Job:
    """Units of a few files each."""
    settings = PlanSettings("folder", float(SECONDS), PER_UNIT * SECONDS / 60)
    recipe = Recipe(codec.spec, COLUMNS, settings)
    return open_job(open_storage(str(folder / "audio")), open_storage(str(output)), recipe, codec)


@cache
def loaded_codec() -> Codec:
    """One codec per process."""
    keep_freed_memory()
    torch.set_num_threads(1)
    return load_codec(CODEC)


@cache
def batch(number: int) -> Tensor:
    """The samples of a file, (1,1,S)."""
    return torch.from_numpy(tone(SECONDS, 24_000, number % 8))[None, None]


def bare_loop(count: int) -> None:
    """Encode `count` batches."""
    for number in range(count):
        loaded_codec().encode(batch(number % 8))


if __name__ == "__main__":
    main()
