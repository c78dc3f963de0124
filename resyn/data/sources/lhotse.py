"""lhotse's manifests of recordings and of cuts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from resyn.data.sources.base import Labels
from resyn.data.sources.labels import labels_of
from resyn.data.sources.manifests import JSON_LINES, Entry, ManifestSource, text_of, time_of


class LhotseSource(ManifestSource):
    """One recording, or one cut with its recording inside, a line.

    Only what is a stretch of one file as it lies there is accepted: no mixed or padded cut, no
    recording of several files, no transform, and above all no `command`, which lhotse would run.
    """

    looks_for: ClassVar[str] = "a lhotse recording's or cut's line"
    suffixes: ClassVar[tuple[str, ...]] = JSON_LINES

    @classmethod
    def entry(cls, line: str) -> Entry:
        """A cut's region and supervisions; a recording is taken whole."""
        fields = json.loads(line)
        if "sources" in fields:
            return Entry(_path(fields))
        kind = fields.get("type", "MonoCut")
        if kind != "MonoCut":
            raise ValueError(f"a {kind} is no stretch of one file; cut or mix it first")
        if fields.get("recording") is None:
            raise ValueError("a cut without its recording; export cuts with audio")
        begin, seconds = time_of(fields["start"]), time_of(fields["duration"])
        return Entry(_path(fields["recording"]), begin, seconds, _labels(fields))


def _path(recording: Mapping[str, Any]) -> str:
    if recording.get("transforms"):
        raise ValueError("a recording with transforms; save the transformed audio first")
    sources = recording["sources"]
    if len(sources) != 1:
        raise ValueError(f"a recording of {len(sources)} files; mix them first")
    (source,) = sources
    if source["type"] != "file":
        raise ValueError(f"a source of type {source['type']!r}; only files are read")
    if len(source["channels"]) != 1:
        raise ValueError(f"{len(source['channels'])} channels; extract one first")
    return text_of(source["source"])


def _labels(cut: Mapping[str, Any]) -> Labels:
    """Texts in order of time; the speaker when there is but one."""
    supervisions = [labels_of(each) for each in cut.get("supervisions") or ()]
    speakers = {each.speaker for each in supervisions}
    text = " ".join(each.text for each in supervisions if each.text)
    return Labels(speaker=speakers.pop() if len(speakers) == 1 else "", text=text)
