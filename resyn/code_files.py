"""Reading coarse codes, or audio to take them from, out of whatever a user has."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow.parquet as pq

from resyn.audio.io import read_audio
from resyn.data.schema import read_spec, unpack_codes
from resyn.data.shards import ShardReader
from resyn.errors import UserError
from resyn.storage import Storage, open_storage
from resyn.types import Audio

ARRAYS = (".npy", ".npz")
SOUNDS = (".flac", ".wav", ".ogg", ".mp3")

#: A name and a way to load it: codes (c,T), or audio still to be encoded.
CodeSource = tuple[str, Callable[[], np.ndarray | Audio]]


def code_sources(uri: str, codec: str) -> list[CodeSource]:
    """What `uri` holds: one `.npy`, `.npz`, shard or audio file, a folder of them, a shard set.

    Shards must be of `codec`. Raises UserError when there is nothing to resynthesise.
    """
    storage = open_storage(uri)
    if not storage.exists():
        raise UserError(f"--input {uri}: no such file or folder")
    if storage.fs.isfile(storage.root):
        folder, name = posixpath.split(storage.root)
        parent = Storage(storage.fs, folder)
        return list(
            _shard(parent, name, codec) if name.endswith(".parquet") else _file(parent, name)
        )
    if storage.exists("ledger"):
        return list(_shards(uri, codec))
    names = [n for n in storage.names() if n.lower().endswith(ARRAYS + SOUNDS)]
    found = [source for name in names for source in _file(storage, name)]
    if not found:
        known = ", ".join(ARRAYS + SOUNDS)
        raise UserError(f"--input {uri}: no file of {known} and no shards in this folder")
    return found


def _shards(uri: str, codec: str) -> Iterator[CodeSource]:
    reader = ShardReader(uri)
    reader.require("codes")
    _same_codec(uri, reader.spec.name, codec)

    def load(index: int) -> np.ndarray:
        codes = reader.read(index, ["codes"]).codes
        assert codes is not None
        return codes

    for index, segment in enumerate(reader.segments):
        yield segment.utt_id, lambda index=index: load(index)


def _shard(folder: Storage, name: str, codec: str) -> Iterator[CodeSource]:
    """The rows of one shard's file, committed or not."""
    uri = folder.path(name)
    with folder.open(name) as handle:
        table = pq.read_table(handle)
    spec = read_spec(table.schema)
    _same_codec(uri, spec.name, codec)
    if "codes" not in table.column_names:
        raise UserError(f"--input {uri}: this shard has no column `codes`")
    for utt_id, packed in zip(table["utt_id"], table["codes"], strict=True):
        codes = unpack_codes(packed.as_py(), spec.num_codebooks)
        yield utt_id.as_py(), lambda codes=codes: codes


def _same_codec(uri: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise UserError(f"--input {uri}: codes of codec {found!r}, but the model's is {wanted!r}")


def _file(folder: Storage, name: str) -> Iterator[CodeSource]:
    stem, suffix = posixpath.splitext(name)
    if suffix.lower() in SOUNDS:
        yield stem, lambda: read_audio(folder.at(name).uri)
        return
    if suffix.lower() not in ARRAYS:
        raise UserError(f"--input {folder.path(name)}: known are {', '.join(ARRAYS + SOUNDS)}")
    try:
        stored = np.load(io.BytesIO(folder.read_bytes(name)), allow_pickle=False)
        arrays = (
            {stem: stored} if isinstance(stored, np.ndarray) else {k: stored[k] for k in stored}
        )
    except (ValueError, OSError) as error:
        raise UserError(f"--input {folder.path(name)}: not a NumPy file ({error})") from error
    for key, array in arrays.items():
        if array.dtype.kind not in "iu":
            raise UserError(
                f"--input {folder.path(name)}: {key} is {array.dtype}, codes are integers"
            )
        yield (key if key == stem else f"{stem}-{key}"), lambda array=array: array
