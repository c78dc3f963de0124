"""`python -m resyn.corpus`: plan, run, refusal."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from resyn.corpus.__main__ import main


def test_help_answers_quickly_and_without_torch() -> None:
    began = time.perf_counter()
    command = [sys.executable, "-X", "importtime", "-m", "resyn.corpus", "--help"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--eval-utterances" in answer.stdout
    assert "torch" not in answer.stderr
    assert time.perf_counter() - began < 5


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--output", str(tmp_path / "out"), "--dry-run"]) == 0
    assert "30 minutes" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_both_trees_are_written_and_another_seed_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["--output", str(tmp_path), "--minutes", "0.5", "--eval-utterances", "2"]
    assert main(call) == 0
    assert "2 voices for evaluation" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["librilight", "librispeech"]
    assert main([*call, "--seed", "1"]) == 2
    assert "delete that folder" in capsys.readouterr().err


def test_wrong_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--output", str(tmp_path), "--minutes", "-1"])
    assert stopped.value.code == 2
