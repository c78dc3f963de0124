"""Reading coarse codes, or audio to take them from, out of whatever a user has."""

from __future__ import annotations

import hashlib
import io
import posixpath
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

from resyn.audio.io import AudioBlocks, open_audio
from resyn.codec.base import CodecSpec
from resyn.data.schema import read_spec, unpack_codes
from resyn.data.shards import ShardReader
from resyn.errors import UserError
from resyn.storage import Storage, content_tag, open_storage

ARRAYS = (".npy", ".npz")
SOUNDS = (".flac", ".wav", ".ogg", ".mp3")


@dataclass(frozen=True, slots=True)
class CodeSource:
    """An utterance: its `name`, and `load` for its codes (c,T) or audio to read and encode.

    `tag` changes when the content does: a digest of codes, and of audio what the storage tells.
    """

    name: str
    tag: str
    load: Callable[[], np.ndarray | AudioBlocks]


def code_sources(uri: str, codec: CodecSpec) -> list[CodeSource]:
    """What `uri` holds: one `.npy`, `.npz`, shard or audio file, a folder of them, a shard set.

    Raises UserError when there is nothing to resynthesise, for a damaged file, and for shards
    that are not of `codec`, by name and weights.
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


def _shards(uri: str, codec: CodecSpec) -> Iterator[CodeSource]:
    reader = ShardReader(uri)
    reader.require("codes")
    _same_codec(uri, reader.spec, codec)

    def load(index: int) -> np.ndarray:
        codes = reader.read(index, ["codes"]).codes
        assert codes is not None
        return codes

    for index, segment in enumerate(reader.segments):
        tag = f"{reader.records[segment.shard].sha256}-{segment.row}"
        yield CodeSource(segment.utt_id, tag, lambda index=index: load(index))


def _shard(folder: Storage, name: str, codec: CodecSpec) -> Iterator[CodeSource]:
    """The rows of one shard's file, committed or not."""
    uri = folder.path(name)
    try:
        with folder.open(name) as handle:
            table = pq.read_table(handle)
        spec = read_spec(table.schema)
    except (ValueError, OSError) as error:
        raise UserError(f"--input {uri}: not a shard, or a damaged one ({error})") from error
    _same_codec(uri, spec, codec)
    if "codes" not in table.column_names:
        raise UserError(f"--input {uri}: this shard has no column `codes`")
    for utt_id, packed in zip(table["utt_id"], table["codes"], strict=True):
        codes = unpack_codes(packed.as_py(), spec.num_codebooks)
        yield _loaded(utt_id.as_py(), codes)


def _same_codec(uri: str, found: CodecSpec, wanted: CodecSpec) -> None:
    if found.name != wanted.name:
        raise UserError(
            f"--input {uri}: codes of codec {found.name!r}, but the model's is {wanted.name!r}"
        )
    if found.weights_sha256 != wanted.weights_sha256:
        raise UserError(
            f"--input {uri}: codes of codec {found.name} {found.weights_sha256[:12]}, but the "
            f"model's is {wanted.name} {wanted.weights_sha256[:12]}; encode again with its weights"
        )


def _loaded(name: str, codes: np.ndarray) -> CodeSource:
    digest = hashlib.sha256(f"{codes.dtype}{codes.shape}".encode())
    digest.update(np.ascontiguousarray(codes).data)
    return CodeSource(name, digest.hexdigest(), lambda: codes)


def _file(folder: Storage, name: str) -> Iterator[CodeSource]:
    stem, suffix = posixpath.splitext(name)
    if suffix.lower() in SOUNDS:
        tag = content_tag(folder.fs.info(folder.path(name)))
        yield CodeSource(stem, tag, lambda: open_audio(folder.at(name).uri))
        return
    if suffix.lower() not in ARRAYS:
        raise UserError(f"--input {folder.path(name)}: known are {', '.join(ARRAYS + SOUNDS)}")
    for key, array in _arrays(folder, name, stem).items():
        if array.dtype.kind not in "iu":
            raise UserError(
                f"--input {folder.path(name)}: {key} is {array.dtype}, codes are integers"
            )
        yield _loaded(key if key == stem else f"{stem}-{key}", array)


def _arrays(folder: Storage, name: str, stem: str) -> dict[str, np.ndarray]:
    """The arrays of a `.npz` by name, or that of a `.npy` under its file's `stem`."""
    try:
        stored = np.load(io.BytesIO(folder.read_bytes(name)), allow_pickle=False)
        if isinstance(stored, np.ndarray):
            return {stem: stored}
        return {key: stored[key] for key in stored}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"--input {folder.path(name)}: not a NumPy file, or a damaged one ({error})"
        ) from error
