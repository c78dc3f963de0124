"""Finding what comes twice in a stream too long to keep."""

from __future__ import annotations

from array import array

import numpy as np


class Repeats:
    """Eight bytes for each key seen, so that millions fit."""

    def __init__(self) -> None:
        self._digests = array("q")

    def add(self, key: object) -> None:
        """Count a key."""
        self._digests.append(hash(key))

    def suspects(self) -> set[int]:
        """Hashes that came more than once: those of all repeated keys, hardly ever another's."""
        digests, counts = np.unique(np.frombuffer(self._digests, np.int64), return_counts=True)
        return set(digests[counts > 1].tolist())
