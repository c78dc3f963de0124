"""Files of an object store, kept on this machine's disk by what they contain."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from resyn.errors import RunError, UserError
from resyn.storage import Storage


def default_folder() -> str:
    """The user's own cache below the machine's folder for temporary files."""
    return str(Path(tempfile.gettempdir()) / f"resyn-shards-{os.getuid()}")


class DiskCache:
    """Whole files by their sha256, at most `most_bytes` of them; the longest unused make room.

    Threads and processes may share `folder`. A file is fetched by one of them while the others
    wait, under a lock that the operating system takes back from a killed process, and gets its
    name once it is whole. Every process verifies a file when it first opens it, and fetches a
    damaged one anew. A full disk turns the cache off, with a warning. Raises UserError when
    `folder` cannot be made.
    """

    def __init__(self, folder: str, most_bytes: int) -> None:
        self.folder = Path(folder)
        self.most_bytes = most_bytes
        self._locks = self.folder / "locks"
        self._verified: set[tuple[str, int]] = set()
        try:
            self._locks.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise UserError(
                f"run.cache_dir: {folder}: {error.strerror}; name a folder that can be written, "
                "or --set run.cache_gb=0"
            ) from error

    def open(self, storage: Storage, name: str, digest: str, size: int) -> IO[bytes]:
        """The file `name` of `storage`, of `size` bytes with the sha256 `digest`, for reading.

        A file larger than the whole cache is read from the store. Raises RunError when the store's
        file has another digest, and OSError when it cannot be fetched.
        """
        if size > self.most_bytes:
            return storage.open(name)
        kept = self._open_kept(digest)
        if kept is None:
            with self._locked(digest[:2]):
                kept = self._open_kept(digest) or self._fetch(storage, name, digest)
        return kept

    def _open_kept(self, digest: str) -> IO[bytes] | None:
        """The file if it is here and undamaged, marked as just used."""
        try:
            kept = (self.folder / digest).open("rb")
        except FileNotFoundError:
            return None
        identity = (digest, os.fstat(kept.fileno()).st_ino)
        if identity not in self._verified:
            if hashlib.file_digest(kept, "sha256").hexdigest() != digest:
                kept.close()
                return None
            kept.seek(0)
            self._verified.add(identity)
        with suppress(FileNotFoundError):  # Another process makes room; the open file lives on.
            os.utime(self.folder / digest)
        return kept

    def _fetch(self, storage: Storage, name: str, digest: str) -> IO[bytes]:
        data = storage.read_bytes(name)
        if hashlib.sha256(data).hexdigest() != digest:
            raise RunError(
                f"{storage.uri}/{name}: its sha256 is not the one in the ledger; find what is "
                "damaged with pipelines/encode.py --audit and encode it again"
            )
        try:
            return self._keep(digest, data)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self.most_bytes = -1
            warnings.warn(f"{self.folder}: {error.strerror}; no more shards are kept", stacklevel=2)
            return storage.open(name)

    def _keep(self, digest: str, data: bytes) -> IO[bytes]:
        file = self.folder / digest
        partial = file.with_suffix(".partial")
        with self._locked("room"):
            self._make_room(len(data))
            try:
                partial.write_bytes(data)
                os.replace(partial, file)
            finally:
                partial.unlink(missing_ok=True)
            return file.open("rb")

    def _make_room(self, size: int) -> None:
        """Delete the longest unused files until `size` more bytes fit."""
        with os.scandir(self.folder) as entries:
            files = [(entry.stat(), entry.path) for entry in entries if entry.is_file()]
        held = sum(stat.st_size for stat, _ in files)
        for stat, path in sorted(files, key=lambda file: file[0].st_mtime_ns):
            if held + size <= self.most_bytes:
                break
            os.unlink(path)
            held -= stat.st_size

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Exclusive among all threads and processes that use `folder`."""
        with (self._locks / name).open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
