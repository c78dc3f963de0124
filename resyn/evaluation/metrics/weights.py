"""Where a metric's model lies: a folder, or a name on the Hugging Face hub.

A model that cannot be had is no reason to stop: whoever asks gets the reason as a NoValueError,
which becomes that column's. Only files that hold numbers and settings are ever fetched or read.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

#: Seconds that the hub has for its first answer.
HUB_TIMEOUT = 5.0
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")

Made = TypeVar("Made")


class NoValueError(Exception):
    """A metric's way to say why it has no value here."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What makes up a model: globs of its files, and of those it cannot do without.

    `setting` is the key under which a user names the model.
    """

    setting: str
    patterns: tuple[str, ...]
    needed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Weights:
    """A model that was found: `folder` on this machine, `num_bytes` in all.

    `name` is for readers, the folder's own or the hub's; `sha256` is over all its files.
    """

    name: str
    folder: str
    sha256: str
    num_bytes: int
    files: ModelFiles

    def here(self) -> Path:
        """The folder, fetched anew on a machine that lacks it. Raises NoValueError."""
        if not Path(self.folder).is_dir():
            return _folder_of(self.name, self.files, download=True)
        return Path(self.folder)


def find_weights(source: str, files: ModelFiles, download: bool = True) -> Weights:
    """The model `source`: a folder, a file in it, or a hub name.

    `download` says whether the hub may be asked. Raises NoValueError with one phrase that says why
    there is none.
    """
    folder = _folder_of(source, files, download)
    found = sorted({path for pattern in files.patterns for path in folder.glob(pattern)})
    for pattern in files.needed:
        if not any(path.match(pattern) for path in found):
            raise NoValueError(f"{_name_of(source)} has no {pattern} ({files.setting})")
    digest = hashlib.sha256()
    for path in found:
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{path.name} {content}\n".encode())
    num_bytes = sum(path.stat().st_size for path in found)
    return Weights(_name_of(source), str(folder), digest.hexdigest(), num_bytes, files)


def opened_once(load: Callable[..., Made]) -> Callable[..., Made]:
    """`load` of hashable arguments, run once per process; a failure is remembered as well.

    Its error is raised as a NoValueError each time, so that broken weights are not read again for
    every utterance.
    """

    @functools.lru_cache(maxsize=1)
    def attempt(*arguments: object) -> tuple[Made | None, str]:
        try:
            return load(*arguments), ""
        except NoValueError as error:
            return None, str(error)
        except Exception as error:
            return None, f"the model does not load: {_first_line(error)}"

    @functools.wraps(load)
    def opened(*arguments: object) -> Made:
        made, reason = attempt(*arguments)
        if made is None:
            raise NoValueError(reason)
        return made

    return opened


def _folder_of(source: str, files: ModelFiles, download: bool) -> Path:
    if not source:
        raise NoValueError(f"its weights are not given ({files.setting})")
    if Path(source).is_dir():
        return Path(source)
    if Path(source).is_file():
        return Path(source).parent
    if not _HUB_NAME.fullmatch(source):
        raise NoValueError(
            f"{files.setting} names {_name_of(source)}: no such folder, and no hub name"
        )
    return Path(_from_hub(source, files, download))


def _from_hub(name: str, files: ModelFiles, download: bool) -> str:
    """The hub's snapshot `name`: the one on this machine, else a fresh one."""
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise NoValueError("package huggingface-hub is not installed") from error
    hub = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    patterns = list(files.patterns)
    try:
        return hub.snapshot_download(name, allow_patterns=patterns, local_files_only=True)
    except OSError as error:
        if not download:
            raise NoValueError(f"{name} is not on this machine ({files.setting})") from error
    try:
        # The download itself sets no time limit on its first question: ask one that does.
        revision = hub.model_info(name, timeout=HUB_TIMEOUT).sha
        return hub.snapshot_download(name, revision=revision, allow_patterns=patterns)
    except Exception as error:  # whatever the network does
        reason = f"{name} is not on this machine, and the hub does not give it"
        told = f"{reason} ({type(error).__name__}); {files.setting} may name a folder instead"
        raise NoValueError(told) from error


def _name_of(source: str) -> str:
    """What a published page may say: a hub's name whole, of a path its last part alone."""
    if _HUB_NAME.fullmatch(source) and not Path(source).is_dir():
        return source
    return Path(source).name


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
