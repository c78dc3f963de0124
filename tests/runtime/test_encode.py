"""`pipelines/encode.py` on a real Ray: the same bytes as without it, whole or resumed."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipelines.encode import main
from resyn.codec import load_codec
from resyn.data.commit import commit_unit
from resyn.data.decode import decode_unit
from resyn.data.encode import BatchShape, encode_unit
from resyn.data.job import Recipe, open_job
from resyn.data.lease import Lease
from resyn.data.ledger import read_records
from resyn.data.plan import PlanSettings, read_rows
from resyn.data.shards import ShardReader
from resyn.errors import RunError, UserError
from resyn.storage import open_storage

ROOT = Path(__file__).parents[2]
SETTINGS = ("--codec", "encodec_24khz_random", "--segment-seconds", "1", "--unit-minutes", "0.03")


def shas(folder: Path) -> dict[int, str]:
    return {r.unit: r.sha256 for r in read_records(open_storage(str(folder)))}


@pytest.fixture(scope="module")
def tree(
    tmp_path_factory: pytest.TempPathFactory,
    make_librilight: Callable[..., Path],
    spoil: Callable[[Path], None],
) -> Path:
    root = make_librilight(tmp_path_factory.mktemp("encode") / "tree", seconds=(1.0, 1.7, 2.2, 1.0))
    spoil(root / "small")
    return root


@pytest.fixture(scope="module")
def encoded(tree: Path, ray_cluster: None) -> Path:
    output = tree.parent / "out"
    pool = ["--num-actors", "1:2"]
    main(["--input", str(tree), "--output", str(output), *SETTINGS, *pool])
    return output


def test_ray_writes_the_bytes_that_a_plain_loop_writes(
    encoded: Path, tree: Path, tmp_path: Path
) -> None:
    codec, columns = load_codec("encodec_24khz_random"), ("codes", "z")
    recipe = Recipe(codec.spec, columns, PlanSettings("auto", 1.0, 0.03))
    job = open_job(open_storage(str(tree)), open_storage(str(tmp_path / "plain")), recipe, codec)
    shape = BatchShape(1, 1.0)
    for unit in job.pending():
        table = decode_unit(job.input, read_rows(job.output, unit), 24_000, with_audio=False)
        table = encode_unit(codec, table, columns, shape)
        commit_unit(job.output, unit.unit, table, codec.spec, columns)
    assert len(shas(encoded)) > 2
    assert shas(encoded) == shas(tmp_path / "plain")


def test_bad_files_are_reported_and_the_rest_is_there(
    encoded: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--input", str(tree), "--output", str(encoded), *SETTINGS])
    printed = capsys.readouterr().out
    assert "nothing to do" in printed
    assert "quarantined: 1 empty, 1 magic, 3 truncated" in printed
    assert "audit clean: 11 segments planned = 8 committed + 3 quarantined" in printed
    assert len(ShardReader(str(encoded))) == 8


def test_a_resumed_unit_has_the_same_bytes(
    encoded: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = shas(encoded)
    kept = (encoded / "shards" / "000000.parquet").stat().st_mtime_ns
    (encoded / "ledger" / "000001.json").unlink()
    main(["--input", str(tree), "--output", str(encoded), *SETTINGS])
    printed = capsys.readouterr().out
    assert "unit 1/1" in printed
    assert "warning" not in printed
    assert re.search(r"workers busy: decode \d+% of 1, encode \d+% of 1, commit \d+% of 1", printed)
    assert shas(encoded) == before
    assert (encoded / "shards" / "000000.parquet").stat().st_mtime_ns == kept


def test_a_resume_in_other_batches_says_so_once(
    encoded: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(encoded, encoded.parent / "mixed")
    (encoded.parent / "mixed" / "ledger" / "000001.json").unlink()
    usual = ["--input", str(tree), "--output", str(encoded.parent / "mixed"), *SETTINGS]
    main([*usual, "--set", "batch_size=2"])
    (warning,) = (line for line in capsys.readouterr().out.splitlines() if "warning" in line)
    assert "encoded otherwise (batch_size 1 there, 2 here); nearly all tokens" in warning
    made = read_records(open_storage(str(encoded.parent / "mixed")))
    assert [record.arithmetic["batch_size"] for record in made[:3]] == [1, 2, 1]


def test_too_much_in_quarantine_fails_the_job_after_the_report(
    encoded: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Case 18: 5 of 13 segments and files are refused."""
    usual = ["--input", str(tree), "--output", str(encoded), *SETTINGS]
    with pytest.raises(RunError, match=r"38\.5% of the input is quarantined, above .* 0\.05"):
        main([*usual, "--max-quarantine", "0.05"])
    assert "audit clean" in capsys.readouterr().out
    main([*usual, "--max-quarantine", "0.4"])


def test_a_second_submission_is_a_wrong_call(encoded: Path, tree: Path) -> None:
    """Case 27, by the command; tests/data/test_lease.py has the rest."""
    usual = ["--input", str(tree), "--output", str(encoded), *SETTINGS]
    with Lease(open_storage(str(encoded)), 60), pytest.raises(UserError, match="already running"):
        main(usual)
    main(usual)


def test_an_audit_that_finds_a_fault_fails_the_run(encoded: Path) -> None:
    main(["--output", str(encoded), "--audit"])
    shard = encoded / "shards" / "000000.parquet"
    content = shard.read_bytes()
    shard.write_bytes(content[:-1])
    with pytest.raises(RunError, match="does not match its sha256"):
        main(["--output", str(encoded), "--audit"])
    shard.write_bytes(content)


def test_a_unit_that_fails_names_its_cause(tree: Path, tmp_path: Path, ray_cluster: None) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "shards").write_text("in the way")
    flags = ["--codec", "waveform_24khz", "--columns", "audio"]
    fault = r"encoding stopped: /.*/shards/0+.parquet: \w+Error: .*; the same command"
    with pytest.raises(RunError, match=fault):
        main(["--input", str(tree), "--output", str(tmp_path / "out"), *flags])


def test_audio_alone(tree: Path, tmp_path: Path, ray_cluster: None) -> None:
    flags = ["--codec", "waveform_24khz", "--columns", "audio"]
    main(["--input", str(tree), "--output", str(tmp_path / "out"), *flags])
    reader = ShardReader(str(tmp_path / "out"))
    assert reader.columns == {"audio"}
    audio = reader.read(0, ["audio"]).audio
    assert audio is not None
    assert audio.shape == (24_000,)


def test_an_archive_cut_by_voice_activity(
    tmp_path: Path, make_tone: Callable[..., np.ndarray], ray_cluster: None
) -> None:
    """Range reads, stitching and resampling in Ray's workers; resumed, nothing is left to do."""
    with tarfile.open(tmp_path / "small.tar", "w") as archive:
        for number, spans in enumerate(([[0.5, 1.5], [2.0, 3.0]], [[0.0, 0.25], [1.0, 9.0]])):
            audio = io.BytesIO()
            soundfile.write(audio, make_tone(3.0, seed=number), 16_000, format="FLAC")
            described = json.dumps({"speaker": "7", "voice_activity": spans}).encode()
            for suffix, data in (("flac", audio.getvalue()), ("json", described)):
                member = tarfile.TarInfo(f"book_{number}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    flags = ["--codec", "waveform_24khz", "--columns", "audio", "--cut-by-vad"]
    command = ["--input", str(tmp_path / "small.tar"), "--output", str(tmp_path / "out"), *flags]
    main(command)
    reader = ShardReader(str(tmp_path / "out"))
    lengths = [reader.read(i, ["audio"]).audio.shape for i in range(len(reader))]
    assert lengths == [(48_000,), (54_000,)]
    with pytest.raises(UserError, match=r"cut_by_vad is True there, False here"):
        main(command[:-1])


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--input", str(tree), "--output", str(tmp_path / "out"), *SETTINGS, "--dry-run"])
    printed = capsys.readouterr().out
    assert "segment_seconds: 1.0" in printed
    assert "plan: 7 files, 0.003 h in 11 segments" in printed
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--set", "segment_second=3"], "did you mean 'segment_seconds'"),
        (["--columns", "codes,y"], "columns"),
        (["--codec", "opus"], "unknown codec"),
        (["--input", "/nowhere/at/all"], "no such folder"),
        (["--output", ""], "--output is missing"),
    ],
)
def test_wrong_calls_name_the_fault(
    tree: Path, tmp_path: Path, flags: list[str], message: str
) -> None:
    usual = ["--input", str(tree), "--output", str(tmp_path / "out"), *SETTINGS]
    with pytest.raises(UserError, match=message):
        main([*usual, *flags])
    assert not (tmp_path / "out").exists()


def test_the_command_exits_with_2_and_one_line(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "pipelines" / "encode.py")]
    flags = ["--input", str(tmp_path / "none"), "--output", str(tmp_path / "out")]
    flags += ["--codec", "waveform_24khz", "--columns", "audio"]
    done = subprocess.run([*script, *flags], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --input")
    assert done.stderr.count("\n") == 1


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = ['encode.py', '--help']\n"
        "try: runpy.run_path('pipelines/encode.py', run_name='__main__')\n"
        "except SystemExit: print(sorted({'torch', 'ray', 'pyarrow'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "--codec-weights" in done.stdout
    assert done.stdout.endswith("[]\n")
