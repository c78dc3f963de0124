"""What a folder of waveforms is kept for, and inputs that are damaged or of another codec."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from resyn.code_files import code_sources
from resyn.codec import load_codec
from resyn.config.resynthesize import ResynthesizeConfig
from resyn.data.shards import ShardReader
from resyn.errors import UserError
from resyn.runtime.resynthesizing import resynthesize_all
from resyn.storage import open_storage
from resyn.training.checkpoint import latest_folder, load_checkpoint, save_checkpoint
from tests.runtime.resynthesis_runs import LENGTHS, run, write_codes


@pytest.fixture
def codes(tmp_path: Path) -> Path:
    return write_codes(tmp_path / "codes.npz")


@pytest.fixture
def other(trained: Path, tmp_path: Path) -> Path:
    """Another model than `trained`, of the same settings."""
    whole = load_checkpoint(open_storage(latest_folder(str(trained))))
    weights = {name: 1.1 * value for name, value in whole.weights.items()}
    changed = replace(whole, weights=weights, ema={})
    save_checkpoint(open_storage(str(tmp_path / "other")), changed)
    return tmp_path / "other"


def test_a_name_that_moved_to_another_checkpoint_is_noticed(
    trained: Path, other: Path, codes: Path, tmp_path: Path
):
    alias, output = tmp_path / "alias", tmp_path / "out"
    alias.symlink_to(trained)
    before = run(alias, codes, output, "--nfe", "1")
    alias.unlink()
    alias.symlink_to(other)
    with pytest.raises(UserError, match=r"made with other settings \(checkpoint;"):
        run(alias, codes, output, "--nfe", "1")
    with pytest.raises(UserError, match=r"\(checkpoint, weights;"):
        run(alias, codes, output, "--nfe", "1", "--weights", "raw")
    # As the demo does it.
    places = {"model": str(alias), "input": str(codes), "output": str(output)}
    config = ResynthesizeConfig(**places, nfe=1, threads=1)
    assert resynthesize_all(config, anew=True) == len(LENGTHS)
    after = run(alias, codes, output, "--nfe", "1")
    expected = run(other, codes, tmp_path / "new", "--nfe", "1")
    for name, samples in after.items():
        assert np.array_equal(samples, expected[name])
        assert not np.array_equal(samples, before[name])


def test_only_what_has_a_new_input_is_made_again(trained: Path, tmp_path: Path):
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for value, name in enumerate("ab"):
        np.save(source / f"{name}.npy", np.full((1, 5), value))
    tone = 0.1 * np.sin(np.arange(2400) / 9)
    soundfile.write(source / "c.wav", tone, 24_000)
    first = run(trained, source, output, "--nfe", "1")
    kept = (output / "a.wav").stat().st_mtime_ns
    np.save(source / "a.npy", np.full((1, 5), 0))  # Written again, with the same codes.
    np.save(source / "b.npy", np.full((1, 5), 7))
    soundfile.write(source / "c.wav", np.tile(tone, 2), 24_000)
    second = run(trained, source, output, "--nfe", "1")
    assert (output / "a.wav").stat().st_mtime_ns == kept
    assert not np.array_equal(second["b"], first["b"])
    assert (len(first["c"]), len(second["c"])) == (8 * 320, 15 * 320)
    assert np.array_equal(second["b"], run(trained, source, tmp_path / "new", "--nfe", "1")["b"])


def test_a_file_of_the_users_own_is_not_touched(trained: Path, tmp_path: Path):
    soundfile.write(tmp_path / "mine.wav", np.zeros(3200), 24_000)
    before = (tmp_path / "mine.wav").read_bytes()
    with pytest.raises(UserError, match=r"mine.wav is not of this command"):
        run(trained, tmp_path / "mine.wav", tmp_path)
    assert (tmp_path / "mine.wav").read_bytes() == before


def test_shards_of_a_codec_of_the_same_name_are_refused(tiny_shards: Path):
    reader = ShardReader(str(tiny_shards))
    shard, spec = tiny_shards / reader.records[0].shard, reader.spec
    other = replace(spec, weights_sha256="0" * 64)
    for place in (tiny_shards, shard):
        assert code_sources(str(place), spec)
        with pytest.raises(UserError, match="but the model's is encodec_24khz_random 000000000000"):
            code_sources(str(place), other)


def test_damaged_code_files_are_told(codes: Path, tmp_path: Path):
    spec = load_codec("demo_24khz").spec
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"bad.parquet: not a shard, or a damaged one"):
        code_sources(str(tmp_path / "bad.parquet"), spec)
    whole = codes.read_bytes()
    np.save(tmp_path / "whole.npy", np.zeros((1, 50), int))
    array = (tmp_path / "whole.npy").read_bytes()
    turned = bytearray(whole)
    turned[len(turned) // 3] ^= 0xFF
    damaged = {
        "empty.npy": b"",
        "empty.npz": b"",
        "text.npy": b"1 2 3\n",
        "cut.npz": whole[: len(whole) // 2],
        "head.npz": whole[:20],
        "turned.npz": bytes(turned),
        "cut.npy": array[:-9],
        "header.npy": array[:30],
    }
    for name, data in damaged.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=f"{name}: not a NumPy file, or a damaged one"):
            code_sources(str(tmp_path / name), spec)
