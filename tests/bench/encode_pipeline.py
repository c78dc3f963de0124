"""The Ray pipeline's steady state on half an hour of speech, against loops without Ray.

Ray fetches, decodes, resamples, encodes, packs, writes and commits. The bare loops have the same
batches in memory and call the codec on them, nothing else: one process with two threads, and two
processes with one thread each, which is the most that two cores give. The naive loop is what the
encodec package's own user writes, in a process of its own: read a file, resample it, `model.encode`
it whole. They take turns. Start-up is that of `pipelines/encode.py`, from its launch to its first
committed unit.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from subprocess import DEVNULL, PIPE

import numpy as np
import ray
import torch
from encodec import EncodecModel

from resyn.audio.io import read_audio
from resyn.audio.resample import resample
from resyn.audio.write import from_pcm16
from resyn.codec import Codec, load_codec
from resyn.codec.encodec import random_network
from resyn.config.encode import EncodeConfig
from resyn.corpus import write_librilight
from resyn.data.decode import decode_unit
from resyn.data.encode import BatchShape
from resyn.data.job import Job, Recipe, open_job
from resyn.data.plan import PlanSettings, read_rows
from resyn.runtime.codec_actors import offered, plan_actors
from resyn.runtime.memory import keep_freed_memory
from resyn.runtime.ray_cluster import ensure_ray
from resyn.runtime.ray_data import encode_units
from resyn.storage import open_storage
from tests.interleaved import print_ratios, seconds

CODEC, COLUMNS, CORES = "encodec_24khz_random", ("codes", "z"), 2
MINUTES, SEGMENT_SECONDS, UNIT_MINUTES, ROUNDS = 30, 10.0, 2 / 3, 3
#: The naive loop takes every n-th file.
NAIVE_SHARE = 6
#: What the numbers are to reach.
RAY_GOAL, NAIVE_GOAL, START_GOAL = 0.97, 1.5, 15


def main() -> None:
    """Print the ratios."""
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_librilight(folder / "audio", minutes=MINUTES)
        starts = [start_up(folder, number) for number in range(ROUNDS)]
        shown = ", ".join(f"{start:.1f}" for start in starts)
        print(f"start-up, launch to first commit: {shown} s (goal <= {START_GOAL})", flush=True)
        ensure_ray(num_cpus=CORES)
        lengths = write_batches(folder)
        context = get_context("spawn")
        with ProcessPoolExecutor(CORES, context, initializer=loaded_codec) as pool:
            list(pool.map(encode_batch, batch_files(folder)[:CORES]))
            with ProcessPoolExecutor(1, context) as rival:
                measure(folder, pool, rival, sum(lengths))
    ray.shutdown()


def start_up(folder: Path, number: int) -> float:
    """Seconds from the launch of the command to its line about the first unit."""
    command = [sys.executable, "pipelines/encode.py", "--input", f"{folder}/audio"]
    command += ["--output", f"{folder}/started{number}", "--codec", CODEC]
    command += ["--set", f"segment_seconds={SEGMENT_SECONDS}", "--set", "unit_minutes=0.3"]
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=PIPE, stderr=DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("unit 1/"):
                break
        took = time.perf_counter() - begun
        process.terminate()
    return took


def measure(
    folder: Path, pool: ProcessPoolExecutor, rival: ProcessPoolExecutor, audio: float
) -> None:
    """Alternate the four and print the ratios of their speeds; `audio` is in seconds."""
    one, two, naive = [], [], []
    files, codec = batch_files(folder), loaded_codec()
    spoken = sorted((folder / "audio").rglob("*.flac"))[::NAIVE_SHARE]
    spoken_seconds = sum(read_audio(str(file)).seconds for file in spoken)
    rival.submit(naive_encode, spoken[0]).result()
    for number in range(ROUNDS):
        torch.set_num_threads(CORES)
        bare = audio / seconds(lambda: [encode_batch(file) for file in files])
        whole = spoken_seconds / seconds(lambda: list(rival.map(naive_encode, spoken)))
        torch.set_num_threads(1)
        pair = audio / seconds(lambda: list(pool.map(encode_batch, files)))
        speed = ray_speed(folder, number, codec)
        print(
            f"times real time: Ray {speed:.1f}, one process {bare:.1f}, two processes {pair:.1f}, "
            f"naive {whole:.1f}",
            flush=True,
        )
        one.append(speed / bare), two.append(speed / pair), naive.append(speed / whole)
    print_ratios(f"Ray ÷ bare loop with two threads (goal >= {RAY_GOAL})", one)
    print_ratios("Ray ÷ two bare processes of one thread", two)
    print_ratios(f"Ray ÷ naive whole-file loop (goal >= {NAIVE_GOAL})", naive)


def ray_speed(folder: Path, number: int, codec: Codec) -> float:
    """Audio seconds per second, from the first output of the last actor to give one.

    Until then the others' next outputs are under way.
    """
    job = plan(folder, folder / f"out{number}", codec)
    config = EncodeConfig(codec=CODEC, columns=COLUMNS, num_actors=(CORES, CORES))
    ends = [
        (time.perf_counter(), u.record.seconds) for u in encode_units(job, config, job.pending())
    ]
    (since, _), counted = ends[CORES - 1], ends[CORES:]
    return sum(audio for _, audio in counted) / (ends[-1][0] - since)


def plan(folder: Path, output: Path, codec: Codec) -> Job:
    """Segments and units of a size at which half an hour has a steady state."""
    settings = PlanSettings("librilight", SEGMENT_SECONDS, UNIT_MINUTES)
    recipe = Recipe(codec.spec, COLUMNS, settings)
    return open_job(open_storage(str(folder / "audio")), open_storage(str(output)), recipe, codec)


def write_batches(folder: Path) -> list[float]:
    """The very batches that the pipeline's actors encode, a file each; seconds of audio in each."""
    job = plan(folder, folder / "planned", loaded_codec())
    actors, spec = (
        plan_actors(EncodeConfig(device="cpu").resolved(), offered(), 1),
        job.recipe.codec,
    )
    shape = BatchShape(actors.batch_size, actors.bucket_seconds)
    lengths: list[float] = []
    (folder / "batches").mkdir()
    for unit in job.pending():
        table = decode_unit(job.input, read_rows(job.output, unit), spec.sample_rate, False)
        for cell in table["pcm"]:
            pcm = np.frombuffer(cell.as_buffer(), np.int16)
            padded = np.zeros((1, 1, shape.padded_samples(len(pcm), spec)), np.float32)
            padded[0, 0, : len(pcm)] = from_pcm16(pcm)
            np.save(folder / f"batches/{len(lengths):05d}.npy", padded)
            lengths.append(len(pcm) / spec.sample_rate)
    return lengths


def batch_files(folder: Path) -> list[Path]:
    """What `write_batches` wrote."""
    return sorted((folder / "batches").glob("*.npy"))


@cache
def loaded_codec() -> Codec:
    """One codec per process."""
    keep_freed_memory()
    torch.set_num_threads(1)
    return load_codec(CODEC)


@cache
def naive_model() -> EncodecModel:
    """The same network as its package offers it, on all cores."""
    torch.set_num_threads(CORES)
    model = random_network().eval()
    model.set_target_bandwidth(6.0)
    return model


@cache
def batch(file: Path) -> torch.Tensor:
    """A batch, read once per process."""
    return torch.from_numpy(np.load(file))


def encode_batch(file: Path) -> None:
    """Encode one batch."""
    loaded_codec().encode(batch(file))


@torch.inference_mode()
def naive_encode(file: Path) -> None:
    """Read, resample and encode a file whole."""
    audio = resample(read_audio(str(file)), 24_000)
    naive_model().encode(torch.from_numpy(audio.samples)[None, None])


if __name__ == "__main__":
    main()
