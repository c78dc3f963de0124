"""A real S3 server, moto as a process of its own, and a proxy before it that does damage."""

from __future__ import annotations

import fnmatch
import http.client
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

SECRET = "9f1c-a-secret-that-nobody-may-print"
#: moto wants to see a signature, and does not look at it.
AUTHORIZED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=0"
}
#: What the proxy can do to a request. `hold` never answers and tells the server nothing; `lost`
#: lets the server act and cuts the answer; `reset` cuts the body in half; `short` sends half a
#: body under a length that agrees with it. `failing` is what no client tries again.
Damage = Literal[
    "500", "503", "403", "expired", "failing", "reset", "short", "lost", "hold", "none"
]
_ANSWERS: dict[str, tuple[int, str]] = {
    "500": (500, "InternalError"),
    "503": (503, "SlowDown"),
    "403": (403, "AccessDenied"),
    "expired": (400, "ExpiredToken"),
    "failing": (400, "InvalidRequest"),
}


@dataclass
class Fault:
    """Damage to the next `times` requests of `method` whose path matches `pattern`.

    `first` runs before; `met` is set when the first such request arrives.
    """

    method: str
    pattern: str
    damage: Damage = "none"
    times: int = 1
    first: Callable[[], None] | None = None
    met: threading.Event = field(default_factory=threading.Event)


class S3:
    """The client's endpoint, the faults to come, and the requests that came."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        self.server.daemon_threads = True

    @property
    def environment(self) -> dict[str, str]:
        """What a user sets to work with this store."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server.server_port}",
            "AWS_ACCESS_KEY_ID": "test-access-key",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def fault(
        self,
        method: str,
        pattern: str,
        damage: Damage = "none",
        times: int = 1,
        first: Callable[[], None] | None = None,
    ) -> Fault:
        """Arm a fault; they are looked at in order."""
        made = Fault(method, pattern, damage, times, first)
        self.faults.append(made)
        return made

    def calm(self) -> None:
        """Forget faults and requests."""
        self.faults.clear()
        self.requests.clear()

    def count(self, method: str, pattern: str) -> int:
        """Requests since `calm`."""
        return len(fnmatch.filter(self.requests, f"{method} {pattern}"))

    def put(self, path: str, data: bytes = b"") -> None:
        """Write past the proxy: `bucket/key`, or a bucket."""
        status, _, _ = self.ask("PUT", f"/{path}", data, AUTHORIZED)
        assert status == 200, status

    def upload(self, tree: Path, bucket: str) -> None:
        """Every file below `tree`."""
        self.put(bucket)
        for file in sorted(tree.rglob("*")):
            if file.is_file():
                self.put(f"{bucket}/{file.relative_to(tree)}", file.read_bytes())

    def ask(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """What the server behind answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def pick(self, method: str, path: str) -> Fault | None:
        """The fault for this request, which it uses up once."""
        with self._lock:
            self.requests.append(f"{method} {path}")
            for fault in self.faults:
                named = fault.method in ("*", method) and fnmatch.fnmatch(path, fault.pattern)
                if named and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None


class Handler(BaseHTTPRequestHandler):
    """The proxy's answer to one request; `handler` gives it its self.store."""

    store: S3
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def relay(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.store.pick(self.command, unquote(urlsplit(self.path).path).lstrip("/"))
        damage = fault.damage if fault else "none"
        if fault:
            fault.met.set()
            if fault.first:
                fault.first()
        if damage == "hold":
            self.store.closing.wait()
            return self.cut()
        if damage in _ANSWERS:
            return self.refuse(*_ANSWERS[damage])
        dropped = ("Expect", "Connection", "Transfer-Encoding")
        headers = {k: v for k, v in self.headers.items() if k not in dropped}
        status, found, data = self.store.ask(self.command, self.path, body, headers)
        if damage == "lost":
            return self.cut()
        return self.answer(status, found, data, damage)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = relay

    def refuse(self, status: int, code: str) -> None:
        text = f"<Error><Code>{code}</Code><Message>{code} as ordered</Message></Error>"
        self.answer(status, [("Content-Type", "application/xml")], text.encode(), "none")

    def answer(
        self, status: int, headers: list[tuple[str, str]], data: bytes, damage: Damage
    ) -> None:
        size = next((v for k, v in headers if k.lower() == "content-length"), None)
        length = size if self.command == "HEAD" and size else str(len(data))
        sent = data[: len(data) // 2] if damage in ("reset", "short") else data
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(sent)) if damage == "short" else length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(sent)
        if damage == "reset":
            self.cut()

    def cut(self) -> None:
        """End the connection with a reset."""
        self.wfile.flush()
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True

    def handle(self) -> None:
        with suppress(OSError, ValueError):  # Clients are killed in these tests.
            super().handle()

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()


def handler(store: S3) -> type[Handler]:
    """The proxy's request handler for `store`."""
    return type("Handler", (Handler,), {"store": store})


@contextmanager
def running_s3() -> Iterator[S3]:
    """Server and proxy, with the environment set for this process; all of it undone at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    store = S3(port)
    before = dict(os.environ)
    try:
        wait_for(port, server)
        threading.Thread(target=store.server.serve_forever, daemon=True).start()
        os.environ.update(store.environment)
        yield store
    finally:
        store.closing.set()
        for name in store.environment:
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]
        store.server.shutdown()
        store.server.server_close()
        server.terminate()
        server.wait(30)


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    """Until the server takes connections."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
            return
        time.sleep(0.05)
    raise RuntimeError("the S3 server did not start")
