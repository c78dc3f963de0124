"""Cases 1 to 13: one folder of everything that can be wrong with a file.

The end state on disk: what is refused is named with its code, the rest is there.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from resyn.codec import Codec, load_codec
from resyn.data.audit import audit
from resyn.data.decode import decode_unit
from resyn.data.job import Job
from resyn.data.ledger import read_records
from resyn.data.plan import read_rows, read_units
from resyn.data.quarantine import PLAN, read_refusals, unit_file
from resyn.data.schema import unpack_codes

Tone = Callable[..., np.ndarray]
Encode = Callable[..., Job]

REFUSED = {
    "01_empty.flac": "empty",
    "02_cut.flac": "truncated",
    "03_flipped.flac": "decode",
    "04_text.flac": "magic",
    "05_goes_on.flac": "decode",
    "07_inflated.flac": "truncated",
    "08_days.flac": "too_long",
    "09_nothing.wav": "too_short",
    "09_short.wav": "too_short",
    "10_telephone.wav": "sample_rate",
    "12_infinite.wav": "nonfinite",
    "12_nan.wav": "nonfinite",
}
#: Samples at 24 kHz.
KEPT = {
    "06_unknown_length.flac": 24_000,
    "10_44100.wav": 24_000,
    "10_48000.wav": 24_000,
    "10_8000.wav": 24_000,
    "11_stereo.wav": 24_000,
    "12_clipped.wav": 24_000,
    "12_full_scale.flac": 24_000,
    "13_silence.flac": 24_000,
}


def flac(samples: np.ndarray, total: int | None = None) -> bytes:
    """16 kHz; `total` replaces the 36 bits of STREAMINFO that tell the length."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16_000, format="FLAC")
    data = buffer.getvalue()
    if total is None:
        return data
    return data[:21] + ((data[21] & 0xF0) << 32 | total).to_bytes(5, "big") + data[26:]


def write_tree(root: Path, tone: np.ndarray) -> None:
    """One second of `tone` in every form."""
    root.mkdir()
    whole = flac(tone)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0x10
    files = {
        "01_empty.flac": b"",
        "02_cut.flac": whole[: len(whole) // 2],
        "03_flipped.flac": bytes(flipped),
        "04_text.flac": b"a text named .flac",
        "05_goes_on.flac": flac(tone, 8_000),
        "06_unknown_length.flac": flac(tone, 0),
        "07_inflated.flac": flac(tone, 2**36 - 1),
        # Large enough for its promise of 49 hours, as a file of silence would be.
        "08_days.flac": flac(tone, 49 * 3600 * 16_000) + bytes(600_000),
        "12_full_scale.flac": flac(np.where(np.arange(16_000) < 320, 1.0, tone)),
        "13_silence.flac": flac(np.zeros(16_000)),
    }
    for name, data in files.items():
        (root / name).write_bytes(data)
    for rate in (8_000, 44_100, 48_000):
        soundfile.write(root / f"10_{rate}.wav", np.resize(tone, rate), rate)
    soundfile.write(root / "10_telephone.wav", tone[:6_000], 6_000)
    soundfile.write(root / "11_stereo.wav", np.stack([tone, -tone / 2], axis=1), 16_000)
    soundfile.write(root / "09_nothing.wav", tone[:0], 16_000)
    soundfile.write(root / "09_short.wav", tone[:100], 16_000)
    values = {"12_nan.wav": np.nan, "12_infinite.wav": np.inf, "12_clipped.wav": -1.5}
    for name, value in values.items():
        broken = np.where(np.arange(16_000) // 4 == 2_250, value, tone)
        soundfile.write(root / name, broken, 16_000, subtype="FLOAT")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, make_tone: Tone, encode: Encode) -> Job:
    folder = tmp_path_factory.mktemp("matrix")
    write_tree(folder / "tree", make_tone(1.0))
    return encode(folder / "tree", folder / "out", load_codec("waveform_24khz"), ("audio",))


def rows(job: Job) -> list[dict[str, Any]]:
    shards = [job.output.read_bytes(record.shard) for record in read_records(job.output)]
    return [row for shard in shards for row in pq.read_table(io.BytesIO(shard)).to_pylist()]


def test_what_is_wrong_is_refused_with_its_code(job: Job) -> None:
    units = [unit_file(r.unit) for r in read_records(job.output) if r.quarantined]
    found = [refusal for name in [PLAN, *units] for refusal in read_refusals(job.output, name)]
    assert {refusal.source_uri: refusal.code for refusal in found} == REFUSED
    assert all(refusal.detail for refusal in found)


def test_the_rest_is_there_at_the_rate_of_the_codec(job: Job) -> None:
    assert audit(job.output, contents=True).clean
    decoded = {row["source_uri"]: soundfile.read(io.BytesIO(row["audio"]))[0] for row in rows(job)}
    assert {name: len(samples) for name, samples in decoded.items()} == KEPT
    assert not decoded["13_silence.flac"].any()
    mono, stereo = decoded["06_unknown_length.flac"], decoded["11_stereo.wav"]
    np.testing.assert_allclose(stereo, mono / 4, atol=2 / 2**15)


def test_clipping_is_counted_and_silence_flagged(job: Job) -> None:
    """Cases 12 and 13: the share of samples that are at full scale, or beyond it in float."""
    made = {row["source_uri"]: row for row in rows(job)}
    clipped = {name: row["clipped"] * 16_000 for name, row in made.items() if row["clipped"]}
    assert clipped == pytest.approx({"12_clipped.wav": 4, "12_full_scale.flac": 320})
    assert [name for name, row in made.items() if row["silent"]] == ["13_silence.flac"]


def test_a_second_run_makes_the_same_bytes(job: Job, encode: Encode, tmp_path: Path) -> None:
    again = encode(job.input.root, tmp_path / "out", load_codec("waveform_24khz"), ("audio",))
    assert read_records(again.output) == read_records(job.output)


def test_silence_has_tokens(job: Job, codec: Codec, encode: Encode, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "silence.flac").write_bytes(job.input.read_bytes("13_silence.flac"))
    made = encode(tmp_path / "tree", tmp_path / "out", codec)
    (row,) = rows(made)
    assert unpack_codes(row["codes"], 8).shape == (8, 75)


def test_a_local_file_that_changed_since_planning_is_refused(
    tmp_path: Path, make_tone: Tone, encode: Encode, waveform: Codec
) -> None:
    """Case 22 without an ETag: its size tells; a copy with another time is the same file."""
    (tmp_path / "tree").mkdir()
    kept, changed = tmp_path / "tree" / "a.flac", tmp_path / "tree" / "b.flac"
    kept.write_bytes(flac(make_tone(1.0)))
    changed.write_bytes(flac(make_tone(1.0)))
    job = encode(tmp_path / "tree", tmp_path / "out", waveform, ("audio",))
    (rows,) = [read_rows(job.output, unit) for unit in read_units(job.output)]
    os.utime(kept, (0, 0))
    changed.write_bytes(flac(make_tone(1.0, seed=1)))
    table = decode_unit(job.input, rows, 24_000, with_audio=False)
    assert table["fault_code"].to_pylist() == [None, "changed"]
