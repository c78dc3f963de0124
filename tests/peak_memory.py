"""What a piece of work costs in memory."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path


def peak_growth(work: Callable[[], object]) -> int:
    """Bytes of resident memory at the peak of `work` beyond those at its start."""
    gc.collect()
    # What the allocator keeps of earlier work would serve this one unseen.
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = status_bytes("VmRSS")
    work()
    return status_bytes("VmHWM") - before


def status_bytes(field: str, process: int | str = "self") -> int:
    """A size that the kernel keeps of a process: VmRSS is now, VmHWM the peak."""
    text = Path(f"/proc/{process}/status").read_text()
    found = re.search(rf"^{field}:\s*(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
