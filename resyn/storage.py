"""The one seam to file systems: local paths, `file://`, `s3://` and whatever fsspec knows.

Endpoint and credentials of object stores come from the standard environment only.
"""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass
from typing import IO, Any, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from resyn.errors import UserError

#: An object store's reader fetches this much (bytes) beyond what is asked for. fsspec's own
#: choice for S3 is 50 MiB, which turns every look at a header into a download.
READ_AHEAD = 2**20


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

    def at(self, name: str) -> Storage:
        """The sub-folder `name`."""
        return Storage(self.fs, self.path(name))

    def path(self, name: str = "") -> str:
        """The file system's own path of `name`."""
        return posixpath.join(self.root, name) if name else self.root

    def exists(self, name: str = "") -> bool:
        """True when a file or folder is there."""
        return bool(self.fs.exists(self.path(name)))

    def open(self, name: str, mode: str = "rb", read_ahead: int = READ_AHEAD) -> IO[bytes]:
        """Open a file for reading or writing bytes.

        A file read from an object store is fetched as it is read, `read_ahead` bytes at a time.
        """
        settings = {"block_size": read_ahead} if mode == "rb" else {}
        return cast("IO[bytes]", self.fs.open(self.path(name), mode, **settings))

    def read_bytes(self, name: str) -> bytes:
        """The whole file. Raises FileNotFoundError."""
        return cast(bytes, self.fs.cat_file(self.path(name)))

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write so that readers see the old file or the new one, never a part."""
        path = self.path(name)
        if not self.is_local:
            self.fs.pipe_file(path, data)
            return
        self.fs.makedirs(posixpath.dirname(path), exist_ok=True)
        partial = f"{path}.partial"
        self.fs.pipe_file(partial, data)
        self.fs.mv(partial, path)

    def read_json(self, name: str) -> Any:
        """The parsed JSON file. Raises FileNotFoundError or ValueError."""
        return json.loads(self.read_bytes(name))

    def write_json(self, name: str, value: object) -> None:
        """Write `value` as sorted, indented JSON."""
        self.write_bytes(name, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())

    def names(self, folder: str = "", suffix: str = "") -> list[str]:
        """Sorted names directly below `folder`, relative to it, that end in `suffix`."""
        if not self.exists(folder):
            return []
        listed = self.fs.ls(self.path(folder), detail=False)
        names = (str(path).rstrip("/").rsplit("/", 1)[-1] for path in listed)
        return sorted(name for name in names if name.endswith(suffix))

    def remove(self, name: str) -> None:
        """Delete a file or a folder with all in it; absent is fine."""
        if self.exists(name):
            self.fs.rm(self.path(name), recursive=True)


def open_storage(uri: str) -> Storage:
    """The folder at `uri`. Raises UserError for a scheme that is not installed."""
    try:
        fs, root = fsspec.core.url_to_fs(uri)
    except (ImportError, ValueError) as error:
        raise UserError(
            f"{uri}: cannot open this kind of URI ({error}); use a path or s3://"
        ) from error
    return Storage(fs, str(root).rstrip("/") or "/")
