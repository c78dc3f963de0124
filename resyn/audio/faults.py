"""Why an input was refused."""

from __future__ import annotations

from typing import Literal

FaultCode = Literal[
    "empty",
    "magic",
    "decode",
    "truncated",
    "too_short",
    "too_long",
    "nonfinite",
    "sample_rate",
    "json",
    "access",
    "unsafe",
    "changed",
]


class AudioFault(Exception):
    """One input that cannot be used; the job goes on without it.

    `code` is the reason as a word for tables, `detail` one line for a reader.
    """

    def __init__(self, code: FaultCode, detail: str) -> None:
        super().__init__(code, detail)
        self.code: FaultCode = code
        self.detail = detail
