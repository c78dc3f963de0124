"""The one seam to file systems: local paths, `file://`, `s3://` and whatever fsspec knows.

Endpoint and credentials of object stores come from the standard environment only. Transient faults
(5xx, throttling, cut connections) are retried with growing waits; a refusal is not.
"""

from __future__ import annotations

import errno
import json
import os
import posixpath
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from resyn.errors import UserError
from resyn.storage_faults import ChangedError, error_code
from resyn.storage_listing import names_in

#: A store answers slowly, and many questions at once.
REQUESTS_AT_ONCE = 16
#: By URI scheme. botocore waits between attempts, at random up to 1, 2, 4 … s, and has a budget of
#: retries per process, so that a store in distress is not flooded.
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {
        # A listing kept in memory would hide what other processes write.
        "use_listings_cache": False,
        "config_kwargs": {
            "retries": {"mode": "standard", "total_max_attempts": 6},
            "connect_timeout": 10,
            "read_timeout": 60,
            "max_pool_connections": REQUESTS_AT_ONCE,
        },
    }
}
#: A cut connection costs at most this many bytes again.
_LARGEST_READ = 2**24
#: Reads in a row that may bring nothing before the whole fails.
_FAILED_READS = 5
#: What stores answer to a broken `If-Match`.
_CHANGED = ("PreconditionFailed", "412")

#: An object store's reader fetches this much (bytes) at once. fsspec's own choice for S3 is
#: 50 MiB, which turns every look at a header into a download.
BLOCK_BYTES = 2**20


@dataclass(frozen=True)
class Storage:
    """A folder (or prefix) on a file system. Relative names use forward slashes."""

    fs: fsspec.AbstractFileSystem
    root: str

    @property
    def uri(self) -> str:
        """The folder as a URI; a plain path on the local file system."""
        return self.root if self.is_local else str(self.fs.unstrip_protocol(self.root))

    @property
    def is_local(self) -> bool:
        """True when `root` is a path of this machine."""
        return isinstance(self.fs, LocalFileSystem)

    @property
    def at_once(self) -> int:
        """Requests worth making at the same time."""
        return 1 if self.is_local else REQUESTS_AT_ONCE

    def at(self, name: str) -> Storage:
        """The sub-folder `name`."""
        return Storage(self.fs, self.path(name))

    def path(self, name: str = "") -> str:
        """The file system's own path of `name`."""
        return posixpath.join(self.root, name) if name else self.root

    def exists(self, name: str = "") -> bool:
        """True when a file or folder is there."""
        return bool(self.fs.exists(self.path(name)))

    def open(self, name: str, mode: str = "rb", block_bytes: int = BLOCK_BYTES) -> IO[bytes]:
        """Open a file for reading or writing bytes.

        A file read from an object store is fetched as it is read, `block_bytes` at a time.
        """
        options = {"block_size": block_bytes} if mode == "rb" else {}
        return cast("IO[bytes]", self.fs.open(self.path(name), mode, **options))

    def read_bytes(self, name: str) -> bytes:
        """The whole file, all of it of one version. Raises FileNotFoundError or ChangedError."""
        if self.is_local:
            return cast(bytes, self.fs.cat_file(self.path(name)))
        with self.open(name) as source:
            size = getattr(source, "size", None)
            return source.read() if size is None else read_exactly(source, size)

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write so that readers see the old file or the new one, never a part."""
        path = self.path(name)
        if self.is_local:
            os.replace(self._write_partial(path, data), path)
        else:
            self.fs.pipe_file(path, data)

    def create_bytes(self, name: str, data: bytes) -> bool:
        """Write a file that is not there yet; False when it is, whatever it holds.

        Of several writers exactly one gets True: a hard link decides on local file systems and
        `If-None-Match` on object stores. A store that does not know it (answer 501) is asked
        whether the file exists, which leaves a moment in which two writers may both succeed.
        """
        path = self.path(name)
        if self.is_local:
            return self._link(path, data)
        try:
            self.fs.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            if self.exists(name):
                return False
            self.fs.pipe_file(path, data)
        return True

    def _link(self, path: str, data: bytes) -> bool:
        partial = self._write_partial(path, data)
        try:
            os.link(partial, path)
        except FileExistsError:
            return False
        finally:
            os.unlink(partial)
        return True

    def _write_partial(self, path: str, data: bytes) -> str:
        """Write beside `path`, to the disk itself, under a name that no other writer uses.

        A file that takes its name before its bytes are on the disk may be empty after a crash of
        the machine.
        """
        os.makedirs(posixpath.dirname(path), exist_ok=True)
        writer = f"{socket.gethostname()}-{os.getpid()}-{threading.get_ident()}"
        partial = f"{path}.{writer}.partial"
        try:
            with open(partial, "wb") as sink:
                sink.write(data)
                sink.flush()
                os.fsync(sink.fileno())
        except OSError:
            if os.path.exists(partial):
                os.unlink(partial)
            raise
        return partial

    def read_json(self, name: str) -> Any:
        """The parsed JSON file. Raises FileNotFoundError or ValueError."""
        return json.loads(self.read_bytes(name))

    def write_json(self, name: str, value: object) -> None:
        """Write `value` as sorted, indented JSON."""
        self.write_bytes(name, json_bytes(value))

    def names(self, folder: str = "", suffix: str = "") -> list[str]:
        """Sorted names directly below `folder`, relative to it, that end in `suffix`."""
        if not self.exists(folder):
            return []
        names = names_in(self.fs, self.path(folder))
        return sorted(name for name in names if name.endswith(suffix))

    def remove(self, name: str) -> None:
        """Delete a file or a folder with all in it; absent is fine."""
        if self.exists(name):
            self.fs.rm(self.path(name), recursive=True)


def open_storage(uri: str) -> Storage:
    """The folder at `uri`. Raises UserError for a scheme that is not installed."""
    options = _OPTIONS.get(uri.partition("://")[0], {})
    try:
        fs, root = fsspec.core.url_to_fs(uri, **options)
    except (ImportError, ValueError) as error:
        raise UserError(
            f"{uri}: cannot open this kind of URI ({error}); use a path or s3://"
        ) from error
    return Storage(fs, str(root).rstrip("/") or "/")


def json_bytes(value: object) -> bytes:
    """`value` as sorted, indented JSON."""
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def content_tag(entry: Mapping[str, Any]) -> str:
    """The tag of a listed file: the store's ETag, or a local file's time and size."""
    stored = entry.get("ETag") or entry.get("etag")
    if stored:
        return str(stored).strip('"')
    return f"{entry.get('mtime', '')}-{entry['size']}"


def read_exactly(source: IO[bytes], size: int) -> bytes:
    """`size` bytes from where `source` stands; what came short or damaged is asked for again.

    s3fs reads every block with `If-Match`, and botocore verifies checksums where the store has
    them. Raises ChangedError when the file changed meanwhile, and OSError when the bytes do not
    come.
    """
    parts: list[bytes] = []
    missing, failed = size, 0
    while missing and failed < _FAILED_READS:
        part = _read_some(source, min(missing, _LARGEST_READ))
        failed = 0 if part else failed + 1
        parts.append(part)
        missing -= len(part)
    if missing:
        raise OSError(errno.EIO, f"{missing} of {size} bytes did not come")
    return b"".join(parts)


def _read_some(source: IO[bytes], size: int) -> bytes:
    """At most `size` bytes, none of damaged ones."""
    try:
        return source.read(size)
    except Exception as error:
        # The libraries of object stores are not imported, for their weight.
        kind = type(error).__name__
        if kind == "FlexibleChecksumError":
            return b""
        # s3fs's own exception comes with Amazon's wording alone.
        if kind == "FileExpired" or error_code(error) in _CHANGED:
            raise ChangedError(errno.ESTALE, "changed while it was read") from error
        raise
