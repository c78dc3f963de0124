"""What a corpus' own fields say, under the names that they commonly have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resyn.data.sources.base import Labels

#: Label → field names, the first that is filled counts.
FIELDS: dict[str, tuple[str, ...]] = {
    "speaker": ("speaker", "speaker_id", "spk_id", "client_id"),
    "book": ("book", "chapter_id"),
    "text": ("text", "transcript", "transcription", "sentence", "normalized_text"),
    "split": ("split",),
}


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
