"""The user's line: `ray job submit -- python pipelines/train.py --method sb` on a cluster."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tiny_shards import write_tiny_shards

REPOSITORY = Path(__file__).resolve().parents[2]
RAY = Path(sys.executable).with_name("ray")
#: Generous: they bound a hang, on a machine that may be busy with other things.
START_SECONDS, JOB_SECONDS = 240, 600
STOP_SECONDS = 5


@dataclass(frozen=True)
class Head:
    """A running head node, and the environment in which its user works."""

    address: str
    environment: dict[str, str]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on.

    From between those that Ray gives its workers and those that Linux gives to outgoing
    connections, of which a busy machine opens some every second.
    """
    with ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            candidate = held.enter_context(socket.socket())
            with suppress(OSError):
                candidate.bind(("", random.randrange(20_000, 32_768)))
                ports.append(candidate.getsockname()[1])
    return ports


def user_environment(folder: Path) -> dict[str, str]:
    """What the README tells the user to set, and nothing of this process's own Ray."""
    token = folder / "auth_token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return kept | {
        "PATH": f"{RAY.parent}:{kept['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),  # Not the user's own, ~/.ray/auth_token.
        "RAY_TMPDIR": str(folder),  # Other clusters on this machine must not find this one.
        "RAY_USAGE_STATS_ENABLED": "0",
    }


@contextmanager
def running_head(folder: Path) -> Iterator[Head]:
    """`ray start --head` as a process group of its own, ended by its own id."""
    environment = user_environment(folder)
    port, dashboard, agent, client = free_ports(4)
    command = [RAY, "start", "--head", "--block", "--num-cpus=2", "--include-dashboard=true"]
    command += [f"--port={port}", f"--dashboard-port={dashboard}"]
    command += [f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}"]
    command += ["--object-store-memory=200000000", "--disable-usage-stats"]
    with (folder / "start.log").open("w") as log:
        head = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        address = f"http://127.0.0.1:{dashboard}"
        wait_for(address, head, folder / "start.log")
        yield Head(address, environment)
    finally:
        end(head)


def wait_for(address: str, head: subprocess.Popen[bytes], log: Path) -> None:
    """Until the dashboard answers, be it to ask for the token."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and head.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/api/version", timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            pass
        time.sleep(0.3)
    pytest.fail(f"the head did not come up:\n{log.read_text()[-2000:]}")


def end(head: subprocess.Popen[bytes]) -> None:
    """Ask the head to go, then end what is left of its process group."""
    head.terminate()
    with suppress(subprocess.TimeoutExpired):
        head.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(head.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    # Not pytest's folder: Ray's sockets lie in here, and their paths must be short.
    folder = Path(tempfile.mkdtemp(prefix="rj"))
    try:
        with running_head(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def submit(head: Head, *entrypoint: str) -> subprocess.CompletedProcess[str]:
    command = [RAY, "job", "submit", "--address", head.address, "--working-dir", ".", "--"]
    return subprocess.run(
        [*command, *entrypoint],
        cwd=REPOSITORY,
        env=head.environment,
        capture_output=True,
        text=True,
        timeout=JOB_SECONDS,
    )


def test_a_submitted_job_trains_and_leaves_a_checkpoint(head: Head, tmp_path: Path):
    shards, output = write_tiny_shards(tmp_path), tmp_path / "run"
    line = f"python pipelines/train.py --method sb --preset debug --steps 4 --shards {shards}"
    line += f" --output {output} --tracking-uri sqlite:///{tmp_path}/mlflow.db"
    result = submit(head, *line.split())
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    assert "succeeded" in result.stdout + result.stderr
    checkpoint = sorted((output / "checkpoints").iterdir())[-1]
    assert json.loads((checkpoint / "state.json").read_text())["step"] == 4
    assert (checkpoint / "model.safetensors").is_file()


def test_nobody_submits_without_the_token(head: Head):
    request = urllib.request.Request(f"{head.address}/api/jobs/")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    assert refused.value.code in (401, 403)
