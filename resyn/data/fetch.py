"""Reading inputs: of one version, or with a reason why not.

A fault of one file is an AudioFault and the job goes on; a store that refuses everything ends it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import IO, Any, NoReturn, cast

from resyn.audio.faults import AudioFault
from resyn.errors import RunError
from resyn.storage import BLOCK_BYTES, Storage, read_exactly
from resyn.storage_faults import ChangedError, error_code, failure_cause, is_refusal
from resyn.storage_listing import PAGE, files_below

#: A header is near the front; more would download files that are only planned.
HEADER_BYTES = 2**16
#: Objects tried before a store is taken for one that lets nothing be read.
_TRIED = 4
#: The last object that could be read, by root.
_granted: dict[str, str] = {}


class InputFile(io.RawIOBase):
    """One version of a file, `size` bytes, readable and seekable.

    Of a file inside another it is the `size` bytes from `first` on, or as many as there are. The
    content tag of the whole must be `tag` unless that is empty. Opening and reading raise
    AudioFault `access` or `changed`, RunError when `root` cannot be read at all, and else what the
    store's library raises. A library that reads through this one may hide that: `check` raises it
    again.
    """

    def __init__(
        self,
        root: Storage,
        uri: str,
        tag: str = "",
        block_bytes: int = BLOCK_BYTES,
        first: int = 0,
        size: int | None = None,
    ) -> None:
        self._root, self._uri = root, uri
        self._file: Any = None
        self._failure: Exception | None = None
        with refusals(root):
            self._file = root.open(uri, block_bytes=block_bytes)
        self._whole: int = self._file.size
        self._first = first
        left = max(0, self._whole - first)
        self.size: int = left if size is None else min(size, left)
        self._file.seek(first)
        found = self._found_tag(tag)
        if tag and found and found != tag:
            self.close()
            raise AudioFault("changed", f"was {tag} when planned, is {found}")

    def _found_tag(self, planned: str) -> str:
        """The tag of the open file as far as it can be known; empty when it cannot.

        In a store this is the ETag on which every read insists. Locally only the size counts: a
        copy of a corpus has the content of the original and often another time.
        """
        if self._root.is_local:
            time, dash, size = planned.rpartition("-")
            return f"{time}-{self._whole}" if dash and size.isdigit() else ""
        details = getattr(self._file, "details", None) or {}
        return str(details.get("ETag") or details.get("etag") or "").strip('"')

    def close(self) -> None:
        """Close the file below too."""
        if not self.closed and self._file is not None:
            self._file.close()
        super().close()

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        return int(self._file.tell()) - self._first

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; returns the new position."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self.size}[whence]
        self._file.seek(self._first + max(0, origin + offset))
        return self.tell()

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, or all that are left; fewer only at the end."""
        left = max(0, self.size - self.tell())
        wanted = left if size < 0 else min(size, left)
        try:
            with refusals(self._root):
                data = read_exactly(cast("IO[bytes]", self._file), wanted)
        except Exception as error:
            self._failure = error
            raise
        if data and not self._root.is_local:
            _granted[self._root.uri] = self._uri
        return data

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`; returns how many bytes came."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def check(self) -> None:
        """Raises what the last failed read raised, if one failed."""
        if self._failure is not None:
            raise self._failure


@contextmanager
def refusals(root: Storage) -> Iterator[None]:
    """Tells one input's fault from the store's, for whatever is asked of `root` inside.

    Raises AudioFault `access` or `changed`, and RunError when `root` cannot be read at all. Any
    other failure, like a store's that is out of order, passes as it is: the same command may
    succeed later, so it must not end in the quarantine.
    """
    try:
        yield
    except Exception as error:
        _refuse(root, error)


def _refuse(root: Storage, error: Exception) -> NoReturn:
    if isinstance(error, ChangedError):
        raise AudioFault("changed", "changed while it was read") from error
    if isinstance(error, FileNotFoundError):
        raise AudioFault("access", "FileNotFoundError") from error
    if is_refusal(error):
        if not _readable(root):
            raise RunError(f"{root.uri}: {failure_cause(error)}") from None
        raise AudioFault("access", error_code(error) or type(error).__name__) from error
    raise error


def _readable(root: Storage) -> bool:
    """Whether the store grants anything below `root`: else the fault is not one file's."""
    try:
        if not root.exists():
            return False
        return root.is_local or any(_grants(root, name) for name in _samples(root))
    except Exception:
        return False


def _samples(root: Storage) -> Iterator[str]:
    """Objects to try: one that was read before, and a few of those listed first.

    Who may list a bucket need not be allowed to read what lies there, or to decrypt it.
    """
    if known := _granted.get(root.uri):
        yield known
    page = [name for name, _ in islice(files_below(root.fs, root.root), PAGE)]
    yield from page[:: -(-len(page) // _TRIED) or 1]


def _grants(root: Storage, name: str) -> bool:
    try:
        with root.open(name, block_bytes=1) as file:
            return bool(file.read(1))
    except Exception:
        return False
