"""Which kind of input lies there."""

from __future__ import annotations

from resyn.data.sources.archives import WebDatasetSource
from resyn.data.sources.base import Source
from resyn.data.sources.lhotse import LhotseSource
from resyn.data.sources.manifests import FairseqSource, ManifestSource, NemoSource
from resyn.data.sources.tables import ParquetSource
from resyn.data.sources.trees import FolderSource, LibriLightSource, LibriSpeechSource
from resyn.errors import UserError
from resyn.storage import Storage

#: By name, in the order in which `auto` tries them.
SOURCES: dict[str, type[Source]] = {
    "librispeech": LibriSpeechSource,
    "librilight": LibriLightSource,
    "folder": FolderSource,
    "webdataset": WebDatasetSource,
    "parquet": ParquetSource,
    "nemo": NemoSource,
    "lhotse": LhotseSource,
    "fairseq": FairseqSource,
}
#: Those whose descriptions may state where speech is.
WITH_VOICE_ACTIVITY = ("librilight", "webdataset")


def detect_source(root: Storage, name: str = "auto") -> str:
    """The name of the source that `root` is; a name other than `auto` is taken at its word.

    Raises UserError when `root` is missing, is of no known kind or not of the kind named, or the
    name is unknown.
    """
    if name not in ("auto", *SOURCES):
        known = ", ".join(("auto", *SOURCES))
        raise UserError(f"source {name!r}: unknown; known: {known}")
    if not root.exists():
        raise UserError(
            f"--input {root.uri}: no such folder or file; name a folder that holds audio, or a "
            "manifest, tar or Parquet file"
        )
    if name != "auto":
        if not SOURCES[name].holds(root):
            wanted = SOURCES[name].looks_for
            raise UserError(f"--input {root.uri}: holds no {wanted}, as --source {name} needs")
        return name
    for known, source in SOURCES.items():
        if source.matches(root):
            return known
    raise UserError(f"--input {root.uri}: {_nothing_found(root)}")


def _nothing_found(root: Storage) -> str:
    """What was looked for in vain."""
    kinds = (FolderSource, WebDatasetSource, ParquetSource)
    if root.fs.isdir(root.root):
        looked_for = " and no ".join(kind.looks_for for kind in kinds)
        return f"holds no {looked_for}; name the folder above the audio"
    return (
        f"is no {kinds[1].looks_for}, no {kinds[2].looks_for}, and no manifest of NeMo or lhotse "
        "(.jsonl, .json, .gz) or fairseq (.tsv) whose first lines can be read; name one of these, "
        "the manifest's kind with --source, or a folder"
    )


def open_source(root: Storage, name: str, allowed_root: str = "") -> Source:
    """The source `name` at `root`.

    Paths in a manifest may lead anywhere below `allowed_root`, its own folder when empty. Raises
    UserError for an `allowed_root` where there is no manifest.
    """
    kind = SOURCES[name]
    if allowed_root and not issubclass(kind, ManifestSource):
        raise UserError(
            f"allowed_root {allowed_root}: source {name} is no manifest and follows no paths; "
            "leave it out"
        )
    return kind(root, allowed_root)
