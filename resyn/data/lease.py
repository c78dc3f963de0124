"""One run at a time per output: a lease that the run takes, renews and gives back.

The lease is the highest of the numbered files in `lease/`. Whoever finds it free creates the next
number, which only one writer can, and so no lease is ever taken from a file that somebody else
may be reading. A lease ends when its run ends, when its process is dead on this machine, or when
it was not renewed for the seconds it was taken for; that last comparison is between the clocks
of two machines.
"""

from __future__ import annotations

import getpass
import json
import os
import posixpath
import socket
import threading
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from resyn.errors import RunError, UserError
from resyn.storage import Storage
from resyn.storage_faults import first_line

FOLDER = "lease"
#: Renewals within a lease's life, so that some may fail.
_RENEWALS = 4


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease. Times are seconds since 1970, UTC.

    `machine` tells boots and containers of one name apart; `started` is the process's own start,
    since process numbers come again.
    """

    owner: str
    host: str
    machine: str
    pid: int
    started: str
    since: float
    renewed: float
    expires: float
    released: bool = False
    token: str = ""

    @property
    def is_free(self) -> bool:
        """True when somebody else may take the lease."""
        if self.released or _now() > self.expires:
            return True
        return self.machine == _machine() and _started(self.pid) != self.started

    def __str__(self) -> str:
        return (
            f"{self.owner} on {self.host} (process {self.pid}) since {_clock(self.since)}, last "
            f"seen {_clock(self.renewed)}"
        )


class Lease:
    """Held within its `with` block, and renewed by a thread.

    Entering raises UserError when another run holds the lease of `output`. It lasts `seconds`
    after the last renewal.
    """

    def __init__(self, output: Storage, seconds: float) -> None:
        self._output = output
        self._seconds = seconds
        self._name = ""
        self._lost = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        now, pid = _now(), os.getpid()
        host, token = socket.gethostname(), uuid.uuid4().hex
        who = (_owner(), host, _machine(), pid, _started(pid))
        self._holder = Holder(*who, now, now, now + seconds, token=token)

    def __enter__(self) -> Self:
        taken = _numbers(self._output)
        if taken:
            holder = _read(self._output, taken[-1])
            if holder is not None and not holder.is_free:
                raise self._running(holder)
        number = max(taken, default=0) + 1
        self._name = _file(number)
        data = _bytes(self._holder)
        # An answer that got lost makes a retry find its own file.
        if not self._output.create_bytes(self._name, data) and self._content() != data:
            raise self._running(_read(self._output, number))
        if (newest := _numbers(self._output)[-1]) != number:
            self._output.remove(self._name)
            raise self._running(_read(self._output, newest))
        for older in taken:
            self._output.remove(_file(older))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        if self._lost:
            return
        # What ended the run matters more, and an unreleased lease ends by itself.
        with suppress(Exception):
            self._output.write_bytes(self._name, _bytes(replace(self._holder, released=True)))

    def check(self) -> None:
        """Raises RunError when the lease was lost: this run stood still for too long."""
        if self._lost:
            raise RunError(f"--output {self._output.uri}: {self._lost}; leave it to that run")

    def renew(self) -> None:
        """Prolong the lease, unless another run has taken it."""
        newest = _numbers(self._output)[-1:]
        if newest and _file(newest[0]) != self._name:
            holder = _read(self._output, newest[0])
            self._lost = f"its lease ran out and was taken by {holder or 'another run'}"
            self._ended.set()
            return
        now = _now()
        self._holder = replace(self._holder, renewed=now, expires=now + self._seconds)
        self._output.write_bytes(self._name, _bytes(self._holder))

    def _keep(self) -> None:
        while not self._ended.wait(self._seconds / _RENEWALS):
            # The next renewal may go through; until then the last one counts.
            with suppress(Exception):
                self.renew()

    def _content(self) -> bytes:
        try:
            return self._output.read_bytes(self._name)
        except FileNotFoundError:
            return b""

    def _running(self, holder: Holder | None) -> UserError:
        who = until = "another run"
        if holder is not None:
            who, until = str(holder), f"it, or until {_clock(holder.expires)} if it died"
        return UserError(
            f"--output {self._output.uri}: already running: {who}; wait for {until}, or choose "
            "another --output"
        )


def _numbers(output: Storage) -> list[int]:
    return sorted(int(posixpath.splitext(name)[0]) for name in output.names(FOLDER, ".json"))


def _file(number: int) -> str:
    return f"{FOLDER}/{number:06d}.json"


def _bytes(holder: Holder) -> bytes:
    return (json.dumps(asdict(holder), indent=2) + "\n").encode()


def _read(output: Storage, number: int) -> Holder | None:
    """The holder; None when the file is gone. Raises UserError for a file that is no lease."""
    try:
        return Holder(**output.read_json(_file(number)))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        where = f"{output.uri}/{_file(number)}"
        raise UserError(
            f"{where}: not a lease ({first_line(error)}); delete it when nothing is running"
        ) from error


def _now() -> float:
    return datetime.now(UTC).timestamp()


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _owner() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A container may run under a number without a name.
        return str(os.getuid())


def _machine() -> str:
    """Where process numbers mean the same: this boot, and this container."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as boot:
            return f"{boot.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{socket.gethostname()} {uuid.getnode():x}"


def _started(pid: int) -> str:
    """When a process began; empty when there is none. Constant where /proc does not tell."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            state, *fields = stat.read().rpartition(b")")[2].split()
    except OSError:
        return "unknown"
    # A zombie has died, though nobody has asked for its exit code; its start is field 22.
    return "" if state == b"Z" else fields[18].decode()
