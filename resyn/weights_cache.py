"""One copy of a weights file per machine: fetched once, whoever asks first, and checked by all."""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from resyn.errors import RunError, UserError
from resyn.storage import Storage, open_storage, read_exactly
from resyn.storage_faults import explained

#: Bytes fetched and hashed at once.
_PIECE = 2**24


def cache_folder() -> Path:
    """Where copies lie unless told otherwise: this user's, on this machine's own disk."""
    return Path(tempfile.gettempdir()) / f"resyn-{os.getuid()}" / "weights"


def local_copy(uri: str, sha256: str | None = None, folder: str | None = None) -> Path:
    """The weights `uri` as a file of this machine, of content `sha256` where that is given.

    A local file whose hash is not given stays where it is. Everything else is copied below
    `folder`, once per machine: one process copies while the others wait, and a copy is named by
    its hash, so that it serves later runs too. Whoever is killed while copying leaves nothing that
    counts. Raises UserError for a file that is missing, and RunError for one that cannot be read
    or is not what `sha256` says.
    """
    source = open_storage(uri)
    if sha256 is None and source.is_local:
        return Path(source.root)
    cache = Path(folder) if folder else cache_folder()
    key = sha256 or hashlib.sha256(uri.encode()).hexdigest()
    suffix = PurePosixPath(source.root).suffix
    with explained(f"--codec-weights {uri}: copying them to {cache}"):
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        if sha256 and _hash(cache / f"{sha256}{suffix}") == sha256:
            return cache / f"{sha256}{suffix}"
        with exclusive(cache / f"{key}.lock"):
            if sha256 and _hash(cache / f"{sha256}{suffix}") == sha256:
                return cache / f"{sha256}{suffix}"
            partial = cache / f"{key}.partial"
            found = _fetch(uri, source, partial)
            if sha256 not in (None, found):
                partial.unlink()
                raise RunError(
                    f"--codec-weights {uri}: changed since the run was planned (sha256 "
                    f"{found[:12]} on {socket.gethostname()}, {(sha256 or '')[:12]} then); "
                    "restore the file, or encode into a new --output"
                )
            os.replace(partial, cache / f"{found}{suffix}")
    return cache / f"{found}{suffix}"


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Held by one process of this machine at a time; the others wait. It ends with its process."""
    with lock.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _hash(file: Path) -> str:
    """The file's sha256; empty when there is no such file."""
    if not file.is_file():
        return ""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _fetch(uri: str, source: Storage, target: Path) -> str:
    """Copy `source` to `target`; its sha256."""
    digest = hashlib.sha256()
    try:
        with source.open("", block_bytes=_PIECE) as handle, target.open("wb") as made:
            left = handle.seek(0, os.SEEK_END)
            handle.seek(0)
            while left:
                piece = read_exactly(handle, min(left, _PIECE))
                digest.update(piece)
                made.write(piece)
                left -= len(piece)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UserError(
            f"--codec-weights {uri}: no such file on {socket.gethostname()}; name one that all "
            "machines of the cluster can read, such as s3://…"
        ) from error
    return digest.hexdigest()
