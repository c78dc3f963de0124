"""The checkpoints of a run: the newest ones and the best, whatever happens while one is written."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import Any

from resyn.errors import UserError
from resyn.storage import open_storage
from resyn.storage_faults import explained, failure_cause
from resyn.training.best import BEST, best_of
from resyn.training.checkpoint_folder import (
    STATE,
    Checkpoint,
    check_sizes,
    folder_name,
    load_checkpoint,
    read_state,
    read_verified,
    save_checkpoint,
)

__all__ = [
    "STATE",
    "Checkpoint",
    "CheckpointStore",
    "folder_name",
    "latest_folder",
    "load_checkpoint",
    "save_checkpoint",
]


class CheckpointStore:
    """The checkpoints of one run, below `<output>/checkpoints`: the newest, and the best.

    The best is what `best_of` makes of the commit records there. It is never deleted before a
    better one is committed, so a writer that dies before it has marked a new best does no harm:
    the next one to look finds it.
    """

    def __init__(self, output: str, keep: int = 2, best_metric: str | None = None) -> None:
        self.storage = open_storage(output).at("checkpoints")
        self.keep = keep
        self.best_metric = best_metric
        self.faults: list[str] = []
        """Damage that was met, each with a warning."""
        self._damaged: set[str] = set()

    def folders(self) -> list[str]:
        """Committed folders, oldest first."""
        return [n for n in self._candidates() if self.storage.exists(f"{n}/{STATE}")]

    def uri(self, name: str) -> str:
        """The URI of a folder."""
        return self.storage.at(name).uri

    def sound(self) -> dict[str, dict[str, Any]]:
        """Commit records by folder, oldest first, of those with all their files in full size."""
        found = {}
        for name in self.folders():
            if name in self._damaged:
                continue
            try:
                found[name] = read_state(self.storage.at(name))
                check_sizes(self.storage.at(name), found[name])
            except UserError as error:
                found.pop(name, None)
                self._pass_over(name, error)
        return found

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint that verifies; a damaged one is passed over with a warning.

        Raises RunError when the storage cannot be read.
        """
        with explained(self.storage.uri):
            for name in reversed(self.sound()):
                try:
                    return load_checkpoint(self.storage.at(name))
                except UserError as error:
                    self._pass_over(name, error)
        return None

    def latest_state(self, verify: bool = False) -> dict[str, Any] | None:
        """The commit record of the newest sound checkpoint, without its tensors.

        Sound means: no file is missing or of a wrong size. With `verify` every byte is read.
        """
        with explained(self.storage.uri):
            for name, state in reversed(self.sound().items()):
                try:
                    for file in state["sha256"] if verify else ():
                        read_verified(self.storage.at(name), file, state)
                    return state
                except UserError as error:
                    self._pass_over(name, error)
        return None

    def save(self, checkpoint: Checkpoint) -> str:
        """Commit a checkpoint, mark the best, drop what is not kept; returns the URI.

        Raises RunError when the storage refuses, PassingFault when it is out of reach; what was
        there before is then untouched.
        """
        name = folder_name(checkpoint.step)
        with explained(self.uri(name)):
            save_checkpoint(self.storage.at(name), checkpoint)
            self._damaged.discard(name)
            best = self.mark_best()
        self._prune(name, best)
        return self.uri(name)

    def mark_best(self) -> str | None:
        """Write `best.json` where it is not right, and return the name of the best folder."""
        best = best_of(self.sound(), self.best_metric)
        if best is None:
            return None
        mark = asdict(best)
        if not self.storage.exists(BEST) or self._mark() != mark:
            self.storage.write_json(BEST, mark)
        return best.checkpoint

    def best(self) -> str | None:
        """Name of the folder that is marked as the best."""
        mark = self._mark() if self.storage.exists(BEST) else {}
        name = mark.get("checkpoint")
        return name if name and self.storage.exists(f"{name}/{STATE}") else None

    def _mark(self) -> dict[str, Any]:
        try:
            mark = self.storage.read_json(BEST)
        except ValueError:
            return {}
        return mark if isinstance(mark, dict) else {}

    def _candidates(self) -> list[str]:
        return [name for name in self.storage.names() if name.startswith("step-")]

    def _pass_over(self, name: str, error: UserError) -> None:
        self._damaged.add(name)
        self.faults.append(f"{error}; falling back to the one before")
        warnings.warn(self.faults[-1], stacklevel=4)

    def _prune(self, newest: str, best: str | None) -> None:
        """Drop what is older than the newest `keep`, damaged or was never committed."""
        good = [name for name in self.folders() if name not in self._damaged]
        kept = {*good[-self.keep :], newest, best}
        try:
            for name in self._candidates():
                if name not in kept:
                    self.storage.remove(f"{name}/{STATE}")  # First, so that no half is committed.
                    self.storage.remove(name)
        except OSError as error:
            where = self.storage.uri
            warnings.warn(f"{where}: old checkpoints stay: {failure_cause(error)}", stacklevel=3)


def latest_folder(uri: str) -> str:
    """`uri` itself when it is a checkpoint, else the newest sound one of the run that lies there.

    `<run>@best` is the best one. Raises UserError when there is none.
    """
    if open_storage(uri).exists(STATE):
        return uri
    run, at, which = uri.rpartition("@")
    if at and which == "best":
        best = CheckpointStore(run).best()
        if best is None:
            raise UserError(f"{uri}: none of this run's checkpoints is marked as best; drop @best")
        return CheckpointStore(run).uri(best)
    store = CheckpointStore(uri)
    names = list(store.sound())
    if not names:
        raise UserError(f"{uri}: no checkpoint here; give a run's folder or a checkpoint's")
    return store.uri(names[-1])
