"""Reading inputs: of one version, whole, or with a reason why not.

A fault of one file is an AudioFault and the job goes on; a store that refuses everything ends it.
"""

from __future__ import annotations

import io
from types import TracebackType
from typing import IO, Any, NoReturn, Self, cast

from resyn.audio.faults import AudioFault
from resyn.errors import RunError
from resyn.storage import Storage, read_exactly
from resyn.storage_faults import ChangedError, error_code, failure_cause, is_refusal

#: Bytes asked for at once where a file is read piece by piece.
BLOCK_BYTES = 2**20
#: A header is near the front; more would download files that are only planned.
HEADER_BYTES = 2**16


def read_input(root: Storage, uri: str, tag: str = "") -> bytes:
    """The whole file `uri`, whose content tag must be `tag` unless that is empty.

    Raises AudioFault `access` or `changed` (after a second attempt), RunError when `root` cannot
    be read at all.
    """
    for attempt in (1, 2):
        try:
            with InputFile(root, uri, tag) as file:
                return file.read_all()
        except AudioFault as fault:
            if fault.code != "changed" or attempt == 2:
                raise
    raise AssertionError("unreachable")


class InputFile(io.RawIOBase):
    """One version of a file, `size` bytes, readable and seekable.

    Made for libsndfile, whose callbacks cannot raise: a read that fails ends the file, and
    `check` raises afterwards what became of it. Opening raises as `read_input` does.
    """

    def __init__(
        self, root: Storage, uri: str, tag: str = "", block_bytes: int = BLOCK_BYTES
    ) -> None:
        self._root, self._uri = root, uri
        self._failure: BaseException | None = None
        self._file: Any = None
        try:
            self._file = root.open(uri, block_bytes=block_bytes)
        except Exception as error:
            self._refuse(error)
        self.size: int = self._file.size
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
            return f"{time}-{self.size}" if dash and size.isdigit() else ""
        details = getattr(self._file, "details", None) or {}
        return str(details.get("ETag") or details.get("etag") or "").strip('"')

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file below too."""
        if not self.closed and self._file is not None:
            self._file.close()
        super().close()

    def check(self) -> None:
        """Raises what a read met: AudioFault `access` or `changed`, RunError or OSError."""
        if self._failure is not None:
            self._refuse(self._failure)

    def read_all(self) -> bytes:
        """All bytes. Raises as `check` does."""
        self.seek(0)
        data = self.read(self.size)
        self.check()
        return data or b""

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; returns the new position."""
        return int(self._file.seek(offset, whence))

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, or all that are left; fewer only at the end or after a failure."""
        left = max(0, self.size - self.tell())
        wanted = left if size < 0 else min(size, left)
        if not wanted or self._failure is not None:
            return b""
        try:
            return read_exactly(cast("IO[bytes]", self._file), wanted)
        except Exception as error:
            self._failure = error
            return b""

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`; returns how many bytes came."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _refuse(self, error: BaseException) -> NoReturn:
        if isinstance(error, ChangedError):
            raise AudioFault("changed", "changed while it was read") from error
        if isinstance(error, FileNotFoundError):
            raise AudioFault("access", "FileNotFoundError") from error
        if is_refusal(error):
            if not _readable(self._root):
                raise RunError(f"{self._root.uri}: {failure_cause(error)}") from None
            raise AudioFault("access", error_code(error) or type(error).__name__) from error
        raise error


def _readable(root: Storage) -> bool:
    """Whether the store grants anything below `root`: else the fault is not one file's."""
    try:
        return root.exists()
    except Exception:
        return False
