"""First step of a work unit: fetch and decode its segments.

Between the steps a unit is one Arrow table in manifest order. A row that was refused keeps its
place and says why in `fault_code` and `fault_detail`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from resyn.audio.faults import AudioFault
from resyn.audio.resample import resample
from resyn.audio.stream import AudioStream
from resyn.audio.write import encode_flac, to_pcm16
from resyn.data.cutting import Span
from resyn.data.manifest import runs_of_rows, spans_of_row
from resyn.data.sources import SourceReader, file_of_row
from resyn.storage import Storage
from resyn.types import Audio

_TYPES = {
    "clipped": pa.float32(),
    "pcm": pa.large_binary(),
    "audio": pa.binary(),
    "fault_code": pa.string(),
    "fault_detail": pa.string(),
}
#: Bytes fetched at once: few requests for a file, and no file in memory whole.
_BLOCK_BYTES = 2**22
#: The largest value of a 16-bit sample. One that was cut off has it, or is above it in float.
_FULL_SCALE = np.float32(32_767 / 32_768)


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A segment's int16 samples, and the share of those they were made of that are clipped."""

    pcm: np.ndarray
    clipped: float


def decode_unit(
    input_root: Storage, rows: pa.Table, sample_rate: int, with_audio: bool
) -> pa.Table:
    """Fetch and decode the manifest `rows`: adds `clipped`, `pcm`, `audio` and the fault columns.

    `clipped` is the share of the source's samples at full scale or beyond. `pcm` holds 16-bit
    samples at `sample_rate`; tokens are made from these very samples, so that the `audio` column
    (FLAC bytes, null unless `with_audio`) reproduces them. Each segment is resampled by itself and
    depends on nothing outside it.
    """
    made: list[dict[str, Any]] = []
    with closing(SourceReader(input_root)) as reader:
        for run in runs_of_rows(rows.to_pylist()):
            for outcome in _decode_run(reader, run, sample_rate):
                if isinstance(outcome, AudioFault):
                    made.append({"fault_code": outcome.code, "fault_detail": outcome.detail})
                else:
                    flac = encode_flac(outcome.pcm, sample_rate) if with_audio else None
                    pcm = outcome.pcm.tobytes()
                    made.append({"clipped": outcome.clipped, "pcm": pcm, "audio": flac})
    for name, kind in _TYPES.items():
        rows = rows.append_column(name, pa.array([row.get(name) for row in made], kind))
    return rows


def _decode_run(
    reader: SourceReader, rows: list[dict[str, Any]], sample_rate: int
) -> list[_Decoded | AudioFault]:
    """Samples, or a fault, for each row of one run; what changed meanwhile is read again."""
    outcomes = list(_decode_file(reader, rows, sample_rate))
    if any(isinstance(made, AudioFault) and made.code == "changed" for made in outcomes):
        outcomes = list(_decode_file(reader, rows, sample_rate))
    return outcomes


def _decode_file(
    reader: SourceReader, rows: list[dict[str, Any]], sample_rate: int
) -> Iterator[_Decoded | AudioFault]:
    """One pass over the file, which is read as it is decoded."""
    with ExitStack() as stack:
        try:
            handle = stack.enter_context(reader.open(file_of_row(rows[0]), _BLOCK_BYTES))
            size = handle.seek(0, io.SEEK_END)
            handle.seek(0)
            stream = stack.enter_context(AudioStream(handle, size))
        except AudioFault as fault:
            yield from [fault] * len(rows)
            return
        broken: AudioFault | None = None
        for row in rows:
            outcome = broken or _read(stream, spans_of_row(row))
            if isinstance(outcome, AudioFault):
                # A decoder may find its way again later in the stream, at the wrong sample.
                broken = outcome if outcome.code != "nonfinite" else None
                yield outcome
            else:
                clipped = float(np.mean(np.abs(outcome.samples) >= _FULL_SCALE))
                yield _Decoded(to_pcm16(resample(outcome, sample_rate).samples), clipped)


def _read(stream: AudioStream, spans: list[Span]) -> Audio | AudioFault:
    """The spans one after the other."""
    try:
        pieces: list[np.ndarray] = []
        for span in spans:
            stream.skip(span.start - stream.position)
            pieces.append(stream.read(span.num_samples))
        samples = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        return Audio(samples, stream.sample_rate)
    except AudioFault as fault:
        return fault
