"""What lies below a folder, as a stream: a bucket of millions never sits in one list.

Files come in the order of their paths by code point, which is that of their UTF-8 bytes, the order
of an object store's own listings and the same wherever a corpus lies. What is hidden, a file or a
folder whose name begins with a dot, is left out.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, cast

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
from fsspec.implementations.local import LocalFileSystem

from resyn.errors import RunError

#: Objects in one answer of a store: what S3 gives at most.
PAGE = 1000
_CHUNK = 4096

#: Names, each with what the file system says of it.
Listing = Iterator[tuple[str, Mapping[str, Any]]]


def files_below(fs: fsspec.AbstractFileSystem, path: str) -> Listing:
    """(path relative to the folder `path`, what the file system says) of every file below it.

    The latter has `size`, and the store's `ETag` or a local `mtime`. Symbolic links to folders are
    not followed. Raises FileNotFoundError for a bucket that is not there, and RunError for a store
    that lists its objects in no order.
    """
    if isinstance(fs, LocalFileSystem):
        return _below(fs, path, _local_folder)
    if bucket := _bucket(fs, path):
        return _objects(fs, *bucket)
    return _below(fs, path, _stored_folder)


def names_in(fs: fsspec.AbstractFileSystem, path: str) -> Iterator[str]:
    """The names directly in the folder `path`, files and folders, in any order."""
    if not (bucket := _bucket(fs, path)):
        for child in fs.ls(path, detail=False):
            yield str(child).rstrip("/").rsplit("/", 1)[-1]
        return
    _, prefix = bucket
    for page in _pages(fs, *bucket, Delimiter="/"):
        keys = [entry["Key"] for entry in page.get("Contents", ())]
        keys += [entry["Prefix"] for entry in page.get("CommonPrefixes", ())]
        yield from (key[len(prefix) :].rstrip("/") for key in keys if key != prefix)


def _bucket(fs: fsspec.AbstractFileSystem, path: str) -> tuple[str, str] | None:
    """Bucket and prefix of a folder in an S3 store; None for another file system."""
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    if "s3" not in protocols:
        return None
    bucket, prefix, _ = cast(Any, fs).split_path(path)
    return (bucket, f"{prefix}/" if prefix else "") if bucket else None


def _pages(fs: Any, bucket: str, prefix: str, **more: str) -> Iterator[dict[str, Any]]:
    """The answers to one listing; s3fs's own `ls` and `find` put all of them into one list."""
    asked: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": PAGE, **more}
    while True:
        page = fs.call_s3("list_objects_v2", **asked)
        yield page
        if not page.get("IsTruncated"):
            return
        asked["ContinuationToken"] = page["NextContinuationToken"]


def _objects(fs: Any, bucket: str, prefix: str) -> Listing:
    """One listing without folders: a request for every `PAGE` objects, however they lie."""
    last = ""
    for page in _pages(fs, bucket, prefix):
        for entry in page.get("Contents", ()):
            key = entry["Key"]
            if key <= last:
                raise RunError(
                    f"s3://{bucket}/{prefix}: the store lists {key!r} after {last!r}, in no order; "
                    "use a general purpose bucket, or name the files in a manifest"
                )
            last = key
            name = key[len(prefix) :]
            if name and "/." not in f"/{name}" and not name.endswith("/"):
                yield name, {"size": entry["Size"], "ETag": entry.get("ETag")}


def _below(
    fs: fsspec.AbstractFileSystem,
    path: str,
    folder: Callable[[fsspec.AbstractFileSystem, str], Listing],
) -> Listing:
    for name, entry in folder(fs, path):
        if name.startswith("."):
            continue
        if entry["type"] == "directory":
            below = _below(fs, posixpath.join(path, name), folder)
            yield from ((f"{name}/{inner}", found) for inner, found in below)
        else:
            yield name, entry


def _stored_folder(fs: fsspec.AbstractFileSystem, path: str) -> Listing:
    """Object stores list a folder's own marker among its files."""
    listed = fs.ls(path, detail=True)
    entries = {
        f"{posixpath.basename(entry['name'])}{'/' * (entry['type'] == 'directory')}": entry
        for entry in listed
        if not entry["name"].endswith("/")
    }
    yield from ((name.rstrip("/"), entries[name]) for name in sorted(entries))


def _local_folder(fs: fsspec.AbstractFileSystem, path: str) -> Listing:
    """Names sorted as one Arrow column, not a list of objects; each is looked at in its turn.

    A folder is sorted as the beginning of the paths below it, with its slash.
    """
    with os.scandir(os.fsencode(path)) as listed:
        names = (entry.name + b"/" * entry.is_dir(follow_symlinks=False) for entry in listed)
        chunks = iter(
            lambda: pa.array(list(islice(names, _CHUNK)), pa.binary()), pa.array([], pa.binary())
        )
        column = pa.chunked_array(chunks, pa.binary())
    order = pc.call_function("sort_indices", [column])
    for first in range(0, len(order), _CHUNK):
        for name in column.take(order.slice(first, _CHUNK)).to_pylist():
            decoded = os.fsdecode(name.rstrip(b"/"))
            try:
                entry = fs.info(posixpath.join(path, decoded))
            except FileNotFoundError:  # a link to nowhere: to be refused when it is opened
                entry = {"type": "other", "size": None}
            if entry["type"] != "directory" or not entry["islink"]:  # it may lead round in a circle
                yield decoded, entry
