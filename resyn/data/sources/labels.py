"""What a corpus' own fields say, under the names that they commonly have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from resyn.audio.faults import AudioFault
from resyn.data.fetch import InputFile
from resyn.data.sources.base import Labels

#: A description longer than this (bytes) is none.
LONGEST_JSON = 16 * 2**20

#: Label → field names, the first that is filled counts.
FIELDS: dict[str, tuple[str, ...]] = {
    "speaker": ("speaker", "speaker_id", "spk_id", "client_id"),
    "book": ("book", "chapter_id"),
    "text": ("text", "transcript", "transcription", "sentence", "normalized_text"),
    "split": ("split",),
}


def read_description(name: str, stored: InputFile) -> Mapping[str, Any]:
    """The JSON object in `stored`, called `name`. Raises AudioFault `json`, or for the reading."""
    if stored.size > LONGEST_JSON:
        raise AudioFault("json", f"{name}: {stored.size} bytes are too many")
    try:
        described = json.loads(stored.read())
    except (ValueError, RecursionError) as error:
        raise AudioFault("json", f"{name}: {error}") from error
    if not isinstance(described, dict):
        raise AudioFault("json", f"{name}: no JSON object")
    return described


def labels_of(fields: Mapping[str, Any]) -> Labels:
    """Labels from a JSON object or a table's row; LibriLight's `book_meta.id` is a book."""
    found = {label: _first(fields, names) for label, names in FIELDS.items()}
    book = fields.get("book_meta")
    if isinstance(book, Mapping):
        found["book"] = _word(book.get("id")) or found["book"]
    return Labels(**found, voice_activity=fields.get("voice_activity"))


def _first(fields: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((word for name in names if (word := _word(fields.get(name)))), "")


def _word(value: Any) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
