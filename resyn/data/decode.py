"""First step of a work unit: fetch and decode its segments.

Between the steps a unit is one Arrow table in manifest order. A row that was refused keeps its
place and says why in `fault_code` and `fault_detail`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from resyn.audio.faults import AudioFault
from resyn.audio.resample import resample
from resyn.audio.stream import AudioStream
from resyn.audio.write import encode_flac, to_pcm16
from resyn.data.fetch import read_input
from resyn.storage import Storage
from resyn.types import Audio

_TYPES = {
    "pcm": pa.large_binary(),
    "audio": pa.binary(),
    "fault_code": pa.string(),
    "fault_detail": pa.string(),
}


def decode_unit(
    input_root: Storage, rows: pa.Table, sample_rate: int, with_audio: bool
) -> pa.Table:
    """Fetch and decode the manifest `rows`: adds `pcm`, `audio` and the two fault columns.

    `pcm` holds 16-bit samples at `sample_rate`; tokens are made from these very samples, so that
    the `audio` column (FLAC bytes, null unless `with_audio`) reproduces them. Each segment is
    resampled by itself and depends on nothing outside it.
    """
    made: list[dict[str, Any]] = []
    for uri, group in itertools.groupby(rows.to_pylist(), lambda row: row["source_uri"]):
        for outcome in _decode_file(input_root, uri, list(group), sample_rate):
            if isinstance(outcome, AudioFault):
                made.append({"fault_code": outcome.code, "fault_detail": outcome.detail})
            else:
                flac = encode_flac(outcome, sample_rate) if with_audio else None
                made.append({"pcm": outcome.tobytes(), "audio": flac})
    for name, kind in _TYPES.items():
        rows = rows.append_column(name, pa.array([row.get(name) for row in made], kind))
    return rows


def _decode_file(
    input_root: Storage, uri: str, rows: list[dict[str, Any]], sample_rate: int
) -> Iterator[np.ndarray | AudioFault]:
    """int16 samples, or a fault, for each row of one file."""
    try:
        stream = AudioStream.of(read_input(input_root, uri, rows[0]["source_etag"]))
    except AudioFault as fault:
        yield from [fault] * len(rows)
        return
    broken: AudioFault | None = None
    with stream:
        for row in rows:
            outcome = broken or _read(stream, row["start"], row["num_samples"])
            if isinstance(outcome, AudioFault):
                # A decoder may find its way again later in the stream, at the wrong sample.
                broken = outcome if outcome.code != "nonfinite" else None
                yield outcome
            else:
                yield to_pcm16(resample(outcome, sample_rate).samples)


def _read(stream: AudioStream, start: int, num_samples: int) -> Audio | AudioFault:
    try:
        stream.skip(start - stream.position)
        return Audio(stream.read(num_samples), stream.sample_rate)
    except AudioFault as fault:
        return fault
