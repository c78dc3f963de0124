"""How far a long loop has come, on a terminal or in a log."""

from __future__ import annotations

import sys
import time


class Progress:
    """Lines such as `metrics: 61/176 comparisons, 12 s, about 23 s left`, not too many of them."""

    def __init__(self, title: str, unit: str, total: int, every: float = 5.0) -> None:
        self._title, self._unit, self._total, self._every = title, unit, total, every
        self._began = self._printed = time.monotonic()
        self._first: float | None = None
        self._done = 0

    def advance(self) -> None:
        """Count one more as done, and print when it is time or all is done."""
        self._done += 1
        now = time.monotonic()
        if self._first is None:
            self._first = now
        last = self._done >= self._total
        if not last and now - self._printed < self._every:
            return
        self._printed = now
        left = "" if last else self._left(now - self._first)
        text = f"{self._title}: {self._done}/{self._total} {self._unit}, {now - self._began:.0f} s"
        print(text + left, file=sys.stderr, flush=True)

    def _left(self, seconds: float) -> str:
        """The estimate, counted from the first item's end: what came before was starting up."""
        since = self._done - 1
        return f", about {seconds / since * (self._total - self._done):.0f} s left" if since else ""
