"""What makes a file that should be there, and whole, unreadable."""

from __future__ import annotations

import pyarrow as pa

from resyn.storage_faults import first_line


def damage(error: Exception) -> str | None:
    """What an exception says about the Parquet file that was read, as a clause to follow its name.

    None for faults that say nothing about the file, such as a store that does not answer: pyarrow's
    own exceptions are ArrowException, or OSError without a number of the system's.
    """
    if isinstance(error, FileNotFoundError):
        return "is missing"
    if isinstance(error, pa.ArrowException) or (type(error) is OSError and error.errno is None):
        return f"is damaged ({first_line(error)})"
    return None
