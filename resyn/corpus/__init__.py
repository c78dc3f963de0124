"""Many-voiced synthetic speech in the folder shapes of LibriLight and LibriSpeech.

For the demo, the tests and small codecs; it needs the extra `demo` (espeak-ng).
"""

from resyn.corpus.record import CorpusSummary, recorded
from resyn.corpus.tree import write_librilight, write_librispeech
from resyn.corpus.voices import VOICES, Voice, voices

__all__ = [
    "VOICES",
    "CorpusSummary",
    "Voice",
    "recorded",
    "voices",
    "write_librilight",
    "write_librispeech",
]
