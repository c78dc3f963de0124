"""`pipelines/resynthesize.py` in this process, and codes for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from pipelines.resynthesize import main

LENGTHS = {"long": 60, "short": 12, "tiny": 3}


def write_codes(file: Path) -> Path:
    """A `.npz` of two levels of random codes, `LENGTHS` frames by name; returns `file`."""
    random = np.random.default_rng(0)
    np.savez(file, **{k: random.integers(0, 1024, (2, n)) for k, n in LENGTHS.items()})
    return file


def run(model: Path, source: Path, output: Path, *more: str) -> dict[str, np.ndarray]:
    """The waveforms made, (S,) by file name."""
    given = ["--model", str(model), "--input", str(source), "--output", str(output)]
    main([*given, "--threads", "1", *more])
    return {file.stem: soundfile.read(file)[0] for file in sorted(output.glob("*.wav"))}
