"""Records on their way to a tracking store: in order, bounded in memory, safe from a kill."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Literal

from resyn.storage import Storage

#: Records held in memory before they go to a file; one is about 200 bytes.
MEMORY_RECORDS = 10_000
#: Files that may wait; beyond, the oldest goes. A run of a million steps logs 50,000 times.
MAX_FILES = 1000


@dataclass(frozen=True, slots=True)
class Record:
    """One thing to tell: a metric at a step, a tag, an artifact (a path) or the run's status.

    `time` is when it happened, in ms since 1970, however late it is told.
    """

    kind: Literal["metric", "tag", "artifact", "status"]
    name: str
    value: float | str
    step: int = 0
    time: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """The oldest records: of a `file`, or of memory up to number `end`."""

    records: list[Record]
    file: str | None
    end: int


class Journal:
    """A queue that one thread fills and one empties.

    What `persist` or a full memory writes goes to JSON Lines files in `folder`, where the next
    process finds it; without a folder the oldest records are dropped instead. A record may be
    given out twice, never out of order.
    """

    def __init__(self, folder: Storage | None = None, memory: int = MEMORY_RECORDS) -> None:
        self._folder, self._limit = folder, memory
        self._files = deque(folder.names(suffix=".jsonl") if folder is not None else ())
        self._memory: deque[Record] = deque()
        self._end = 0  # Number of the record after the newest.
        self._lock = threading.Lock()
        self.dropped = 0

    @property
    def place(self) -> str | None:
        """URI of the folder."""
        return None if self._folder is None else self._folder.uri

    def __len__(self) -> int:
        """Records in memory and files that wait."""
        with self._lock:
            return len(self._memory) + len(self._files)

    def add(self, records: Iterable[Record]) -> None:
        """Append; never raises for want of room."""
        with self._lock:
            for record in records:
                self._memory.append(record)
                self._end += 1
            if len(self._memory) > self._limit:
                self._spill()

    def persist(self) -> None:
        """Move what is in memory to a file, if there is a folder."""
        with self._lock:
            if self._memory and self._folder is not None:
                self._spill()

    def forget(self, kind: str) -> None:
        """Take out records of `kind` that earlier processes left."""
        with self._lock:
            for name in self._files:
                kept = [record for record in self._read(name) if record.kind != kind]
                if self._folder is not None:
                    self._folder.write_bytes(name, _lines(kept))

    def holds(self, kind: str) -> bool:
        """True when a record of `kind` waits in a file."""
        with self._lock:
            return any(r.kind == kind for name in self._files for r in self._read(name))

    def oldest(self, most: int) -> Batch:
        """The oldest file's records, or else up to `most` from memory; they stay."""
        with self._lock:
            if self._files:
                return Batch(self._read(self._files[0]), self._files[0], 0)
            records = list(islice(self._memory, most))
            return Batch(records, None, self._end - len(self._memory) + len(records))

    def done(self, batch: Batch) -> None:
        """Drop what `oldest` gave out."""
        with self._lock:
            if batch.file is not None and self._folder is not None:
                self._folder.remove(batch.file)
                if batch.file in self._files:
                    self._files.remove(batch.file)
                return
            while self._memory and self._end - len(self._memory) < batch.end:
                self._memory.popleft()

    def _spill(self) -> None:
        # A full disk or a store that refuses must not end a training run.
        with suppress(Exception):
            self._write_file()
        while len(self._memory) > self._limit:
            self._memory.popleft()
            self.dropped += 1

    def _write_file(self) -> None:
        if self._folder is None:
            return
        name = f"{time.time_ns():020d}.jsonl"
        self._folder.write_bytes(name, _lines(self._memory))
        self._files.append(name)
        self._memory.clear()
        if len(self._files) > MAX_FILES:
            self.dropped += 1
            self._folder.remove(self._files.popleft())

    def _read(self, name: str) -> list[Record]:
        assert self._folder is not None
        try:
            lines = self._folder.read_bytes(name).decode().splitlines()
            return [Record(**json.loads(line)) for line in lines]
        except (FileNotFoundError, ValueError, TypeError):
            return []  # Written by nobody here.


def _lines(records: Iterable[Record]) -> bytes:
    return "".join(json.dumps(asdict(record)) + "\n" for record in records).encode()
