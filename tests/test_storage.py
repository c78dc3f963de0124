"""What is written to this machine's disk is there when its name is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resyn.storage import open_storage


def test_local_files_are_on_the_disk_before_they_have_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards take their name by replacing, commit records by a link that decides a race."""
    done: list[tuple[str, int, int]] = []

    def noted(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(file: Any, *more: Any) -> None:
            found = os.stat(file)
            done.append((name, found.st_ino, found.st_size))
            plain(file, *more)

        return call

    for name in ("fsync", "replace", "link"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    output = open_storage(str(tmp_path))
    output.write_bytes("shards/0", b"shard")
    assert output.create_bytes("ledger/0", b"its record")
    assert [name for name, _, _ in done] == ["fsync", "replace", "fsync", "link"]
    assert done[0][1:] == done[1][1:]
    assert done[2][1:] == done[3][1:]
    assert [size for _, _, size in done] == [5, 5, 10, 10]
    assert output.read_bytes("shards/0") == b"shard"
    assert output.read_bytes("ledger/0") == b"its record"
