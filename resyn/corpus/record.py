"""What makes a corpus resumable: atomic files, and a record of its parameters in its root."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from resyn.errors import UserError

Parameters = Mapping[str, str | int | float]

_RECORD = "corpus.json"
_UNFINISHED = "corpus.unfinished.json"

# Raise when a change of voices, sentences or signal path changes what is written.
_VERSION = 1


@dataclass(frozen=True, slots=True)
class CorpusSummary:
    """What a corpus holds: `files` of audio, `seconds` of it, and how many `speakers`."""

    files: int
    seconds: float
    speakers: int


def begin(root: Path, parameters: Parameters) -> CorpusSummary | None:
    """Claim `root` for a corpus with these parameters; its summary if it is already complete.

    Raises:
        UserError: `root` holds a corpus with other parameters, or something else.
    """
    claimed = {"version": _VERSION, **parameters}
    for name in (_RECORD, _UNFINISHED):
        if (root / name).exists():
            found = json.loads((root / name).read_text())
            if found["parameters"] != claimed:
                raise UserError(
                    f"{root} holds a corpus made with {_words(found['parameters'])}, not with "
                    f"{_words(claimed)}; delete that folder or write to another one"
                )
            return CorpusSummary(**found["summary"]) if name == _RECORD else None
    if root.exists() and any(root.iterdir()):
        raise UserError(f"{root} is not empty and holds no corpus; write to another folder")
    write_atomically(root / _UNFINISHED, _encode({"parameters": claimed}))
    return None


def recorded(root: Path) -> tuple[dict[str, str | int | float], CorpusSummary] | None:
    """Parameters and summary of the complete corpus in `root`; None where there is none."""
    if not (root / _RECORD).exists():
        return None
    found = json.loads((root / _RECORD).read_text())
    return found["parameters"], CorpusSummary(**found["summary"])


def finish(root: Path, parameters: Parameters, summary: CorpusSummary) -> CorpusSummary:
    """Mark the corpus in `root` complete and return its summary."""
    record = {"parameters": {"version": _VERSION, **parameters}, "summary": asdict(summary)}
    write_atomically(root / _RECORD, _encode(record))
    (root / _UNFINISHED).unlink(missing_ok=True)
    return summary


def write_atomically(path: Path, data: bytes) -> None:
    """Write `path` and the folders above it, so that it is either absent or whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def _encode(record: Mapping[str, object]) -> bytes:
    return (json.dumps(record, indent=2) + "\n").encode()


def _words(parameters: Parameters) -> str:
    return ", ".join(f"{key}={value}" for key, value in parameters.items())
