"""A real MLflow server as a process of its own, that can be down and up."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen


class MlflowServer:
    """A server on loopback for the SQLite store `store_uri`; it starts down."""

    def __init__(self, store_uri: str, folder: Path) -> None:
        self.store_uri, self.folder = store_uri, folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it answers; nothing to do when it is up."""
        if self.process is not None:
            return
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += ["--backend-store-uri", self.store_uri, "--port", str(self.port)]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(
            command, stdout=quiet, stderr=quiet, env=environment, start_new_session=True
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(OSError), urlopen(f"{self.uri}/health", timeout=5):
                return
            time.sleep(0.1)
        raise RuntimeError("the MLflow server did not start")

    def stop(self) -> None:
        """Kill it and its workers."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def record_and_die(uri: str, pending: str, key: str, steps: range) -> None:
    """A process's life that ends by SIGKILL, with one step recorded after what it persisted."""
    from resyn.runtime.tracking import Tracker
    from resyn.storage import open_storage

    tracker = Tracker(uri, pending=open_storage(pending))
    assert tracker.start({"lr": 1}, {}, key=key) is None
    for step in steps:
        tracker.metrics({"loss": float(step), "late": 1.0}, step)
    tracker.persist()
    tracker.metrics({"loss": float(steps.stop)}, steps.stop)
    os.kill(os.getpid(), signal.SIGKILL)
