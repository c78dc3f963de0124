"""What tar archives and Parquet tables share: audio that lies inside other files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from resyn.data.sources.base import SourceFile, name_of, parent, walk
from resyn.storage import Storage, content_tag


class ContainerSource:
    """A file of a given suffix, or a folder of them, each of which holds many audio files."""

    looks_for: ClassVar[str]
    suffix: ClassVar[str]
    in_any_order: ClassVar[bool] = True

    def __init__(self, root: Storage, allowed_root: str = "") -> None:
        self._single = root.fs.isfile(root.root)
        self._root = root
        self.base: Storage = parent(root) if self._single else root

    @classmethod
    def holds(cls, root: Storage) -> bool:
        """True for such a file, or a folder with one."""
        return next(cls(root).stored(), None) is not None

    @classmethod
    def matches(cls, root: Storage) -> bool:
        """As `holds`."""
        return cls.holds(root)

    def check(self) -> None:
        """What lies inside is refused one by one, when it is listed."""

    def stored(self) -> Iterator[SourceFile]:
        """The containers."""
        if self._single:
            name = name_of(self._root)
            if name.lower().endswith(self.suffix):
                entry = self.base.fs.info(self._root.root)
                yield SourceFile(name, int(entry["size"]), content_tag(entry))
        elif self.base.fs.isdir(self.base.root):
            yield from walk(self.base, (self.suffix,))
