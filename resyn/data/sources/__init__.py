"""Where audio comes from: folder trees, manifests, tar archives and Parquet tables.

A source lists its files one by one, so that a bucket of millions never sits in one list, and
describes each when asked, so that a listing alone costs no reads. A `SourceReader` opens what a
source lists, in planning and later from the rows of the manifest.
"""

from resyn.data.sources.base import AUDIO_SUFFIXES, Labels, Source, SourceFile, walk
from resyn.data.sources.detect import SOURCES, WITH_VOICE_ACTIVITY, detect_source, open_source
from resyn.data.sources.reading import SourceReader, file_of_row
from resyn.data.sources.trees import FolderSource

__all__ = [
    "AUDIO_SUFFIXES",
    "SOURCES",
    "WITH_VOICE_ACTIVITY",
    "FolderSource",
    "Labels",
    "Source",
    "SourceFile",
    "SourceReader",
    "detect_source",
    "file_of_row",
    "open_source",
    "walk",
]
