"""`pipelines/resynthesize.py`: files made whole, in batches and in chunks, and wrong calls."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from resyn.audio.write import write_wav, write_wav_pieces
from resyn.errors import UserError
from resyn.storage import open_storage
from resyn.training.checkpoint import latest_folder, load_checkpoint, save_checkpoint
from resyn.types import Audio
from tests.runtime.resynthesis_runs import LENGTHS, run, write_codes
from tests.tiny_shards import write_tiny_shards


@pytest.fixture
def codes(tmp_path: Path) -> Path:
    return write_codes(tmp_path / "codes.npz")


def test_batches_make_the_same_files_and_chunks_files_of_the_same_length(
    trained: Path, codes: Path, tmp_path: Path
):
    alone = run(trained, codes, tmp_path / "alone", "--nfe", "2", "--seed", "3")
    assert {k: len(v) for k, v in alone.items()} == {
        f"codes-{k}": 320 * n for k, n in LENGTHS.items()
    }
    batched = run(trained, codes, tmp_path / "b", "--nfe", "2", "--seed", "3", "--batch-size", "8")
    chunk = ("--chunk-seconds", "0.4", "--overlap-seconds", "0.1", "--batch-size", "8")
    chunked = run(trained, codes, tmp_path / "c", "--nfe", "2", "--seed", "3", *chunk)
    for name, samples in alone.items():
        # 16-bit files of two roundings of one waveform.
        assert np.abs(batched[name] - samples).max() <= 2 / 32_768
        assert len(chunked[name]) == len(samples)
    assert np.abs(chunked["codes-short"] - alone["codes-short"]).max() <= 2 / 32_768
    assert np.abs(chunked["codes-long"] - alone["codes-long"]).max() > 2 / 32_768


def test_a_folder_made_with_other_settings_is_refused(trained: Path, codes: Path, tmp_path: Path):
    output = tmp_path / "out"
    run(trained, codes, output, "--nfe", "1")
    kept = {file: file.stat().st_mtime_ns for file in output.glob("*.wav")}
    run(trained, codes, output, "--nfe", "1", "--batch-size", "2")
    assert {file: file.stat().st_mtime_ns for file in output.glob("*.wav")} == kept
    for more in (
        ["--chunk-seconds", "0.4", "--overlap-seconds", "0"],
        ["--sampling", "grid=sigma"],
    ):
        with pytest.raises(UserError, match="made with other settings"):
            run(trained, codes, output, "--nfe", "1", *more)


def test_precision_and_device_reach_the_model(
    trained: Path, codes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    exact = run(trained, codes, tmp_path / "fp32", "--nfe", "1", "--device", "cpu")
    lower = run(trained, codes, tmp_path / "bf16", "--nfe", "1", "--precision", "bf16")
    assert not np.array_equal(exact["codes-long"], lower["codes-long"])
    with pytest.raises(UserError, match=r"made with other settings \(precision;"):
        run(trained, codes, tmp_path / "fp32", "--nfe", "1", "--precision", "bf16")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="--device cuda: torch finds no GPU here"):
        run(trained, codes, tmp_path / "gpu", "--device", "cuda")


def test_a_start_model_reaches_the_walk(trained: Path, codes: Path, tmp_path: Path):
    """The model's own first estimate stands for another's."""
    alone = run(trained, codes, tmp_path / "alone", "--nfe", "1")
    started = run(trained, codes, tmp_path / "started", "--nfe", "1", "--start-model", str(trained))
    assert not np.array_equal(alone["codes-long"], started["codes-long"])
    with pytest.raises(UserError, match=r"made with other settings \(start;"):
        run(trained, codes, tmp_path / "started", "--nfe", "1")


def test_sampling_settings_reach_the_method(trained: Path, codes: Path, tmp_path: Path):
    made = [
        run(trained, codes, tmp_path / str(number), "--nfe", "3", *more)["codes-short"]
        for number, more in enumerate(
            (
                [],
                ["--sampling", "grid=sigma"],
                ["--sampling", "grid=sigma", "--sampling", "start=estimate"],
            )
        )
    ]
    assert not np.array_equal(made[0], made[1])
    assert not np.array_equal(made[1], made[2])


WRONG = [
    (["--nfe", "0"], "nfe"),
    (["--nfe", "1001"], "--nfe 1001: sb takes 1 to 1000"),
    (["--sampling", "beta_max=1"], "sampling beta_max: sb has no such setting"),
    (["--sampling", "guidance=2"], "condition_dropout"),
    (["--sampling", "grid"], "--sampling grid: write it as name=value"),
    (["--chunk-seconds", "0"], "chunk_seconds"),
    (["--chunk-seconds", "3"], "--chunk-seconds 3 with --overlap-seconds 2: .* at most half"),
    (["--batch-size", "0"], "batch_size"),
    (["--precision", "fp16"], "precision"),
    (["--device", "tpu"], "device"),
]


@pytest.mark.parametrize(("flags", "message"), WRONG, ids=lambda value: str(value))
def test_wrong_flags_are_told_before_a_file_is_written(
    trained: Path, codes: Path, tmp_path: Path, flags, message
):
    with pytest.raises(UserError, match=message):
        run(trained, codes, tmp_path / "out", *flags)
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((1, 5), 1024), "bad: codes: values from 1024 to 1024 lie outside 0 … 1023"),
        (np.zeros((1, 0), np.int64), "bad: codes: need at least 1 levels and one frame"),
        (np.zeros((1, 5)), "codes are integers"),
    ],
    ids=["range", "frames", "type"],
)
def test_wrong_codes_are_told_with_the_utterances_name(trained, tmp_path, array, message):
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(UserError, match=message):
        run(trained, tmp_path / "bad.npy", tmp_path / "out")


def test_two_utterances_of_one_file_name_are_refused(trained, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a b.npy", "a_b.npy"):
        np.save(tmp_path / "in" / name, np.zeros((1, 4), np.int64))
    with pytest.raises(UserError, match="2 utterances would be written to a_b"):
        run(trained, tmp_path / "in", tmp_path / "out")


def test_shards_of_another_codec_are_refused(trained: Path, tmp_path: Path):
    shards = write_tiny_shards(tmp_path, "demo_24khz")
    with pytest.raises(UserError, match="codes of codec 'demo_24khz', but the model's is"):
        run(trained, shards, tmp_path / "out")


def test_a_checkpoint_with_weights_that_are_not_finite_or_of_another_codec_is_refused(
    trained: Path, codes: Path, tmp_path: Path
):
    whole = load_checkpoint(open_storage(latest_folder(str(trained))))
    name = next(iter(whole.weights))
    weights = {**whole.weights, name: torch.full_like(whole.weights[name], torch.nan)}
    save_checkpoint(open_storage(str(tmp_path / "nan")), replace(whole, weights=weights, ema={}))
    with pytest.raises(UserError, match=f"weight '{name}' is not finite"):
        run(tmp_path / "nan", codes, tmp_path / "out")
    config = json.loads(json.dumps(whole.config))
    config["codec"]["weights_sha256"] = "0" * 64
    save_checkpoint(open_storage(str(tmp_path / "other")), replace(whole, config=config))
    with pytest.raises(UserError, match="trained on codec encodec_24khz_random 000000000000"):
        run(tmp_path / "other", codes, tmp_path / "out")


def test_a_file_written_in_pieces_is_the_file_written_at_once(tmp_path: Path):
    samples = np.random.default_rng(0).uniform(-1.2, 1.2, 5000).astype(np.float32)
    storage = open_storage(str(tmp_path / "new" / "folder"))
    pieces = np.split(samples, [1, 7, 3000])
    assert write_wav_pieces(storage, "pieces.wav", pieces, 24_000) == 5000
    write_wav(storage, "whole.wav", Audio(samples, 24_000))
    assert storage.read_bytes("pieces.wav") == storage.read_bytes("whole.wav")
    assert storage.names() == ["pieces.wav", "whole.wav"]
    assert soundfile.info(io.BytesIO(storage.read_bytes("pieces.wav"))).samplerate == 24_000


def test_a_file_that_fails_half_way_leaves_nothing(tmp_path: Path):
    def pieces():
        yield np.zeros(10, np.float32)
        raise RuntimeError("the model broke")

    storage = open_storage(str(tmp_path))
    with pytest.raises(RuntimeError, match="broke"):
        write_wav_pieces(storage, "half.wav", pieces(), 24_000)
    assert storage.names() == []
