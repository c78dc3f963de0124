"""Paths written in a manifest: followed only where they stay inside one folder."""

from __future__ import annotations

import os
import posixpath
from functools import lru_cache

from resyn.storage import Storage, open_storage


class Boundary:
    """Resolves the paths of the manifest in `folder`; all must lie below `allowed`.

    On the local file system symbolic links count by where they lead.
    """

    def __init__(self, folder: Storage, allowed_root: str = "") -> None:
        self.allowed: Storage = open_storage(allowed_root) if allowed_root else folder
        self._folder = folder.root
        self._fs = folder.fs
        self._same_store = type(self.allowed.fs) is type(folder.fs)
        self._real = lru_cache(4096)(os.path.realpath)

    def resolve(self, path: str) -> str:
        """`path` relative to `allowed`. Raises ValueError that says why it may not be followed."""
        whole = posixpath.normpath(posixpath.join(self._folder, self._plain(path)))
        inside = _below(whole, self.allowed.root)
        if self.allowed.is_local:
            folder, name = posixpath.split(whole)
            real = os.path.realpath(posixpath.join(self._real(folder), name))
            led = _below(real, self._real(self.allowed.root))
            # A path may also name the allowed root by another way than the setting does.
            inside = None if led is None else inside or led
        if inside is None:
            raise ValueError(f"leaves {self.allowed.uri}")
        return inside

    def _plain(self, path: str) -> str:
        """Without the scheme of the manifest's own file system."""
        if not path or "\0" in path:
            raise ValueError("is empty or holds a zero byte")
        scheme, separator, _ = path.partition("://")
        if not self._same_store:
            raise ValueError("lies on another file system than the allowed root")
        if not separator:
            return path
        known = self._fs.protocol
        if scheme not in ((known,) if isinstance(known, str) else known):
            raise ValueError(f"lies on another file system ({scheme}://)")
        return str(self._fs._strip_protocol(path))


def _below(path: str, root: str) -> str | None:
    prefix = root.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else None
