"""Case 27: of all runs on one output, one works."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from resyn.data.lease import FOLDER, Lease
from resyn.errors import RunError, UserError
from resyn.storage import Storage, open_storage
from tests.s3_proxy import S3

HOLD = """
import sys, time
from resyn.data.lease import Lease
from resyn.storage import open_storage
with Lease(open_storage(sys.argv[1]), 3600):
    print("held", flush=True)
    time.sleep(3600)
"""


@pytest.fixture(params=["local", "s3"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return open_storage(str(tmp_path / "out"))
    store: S3 = request.getfixturevalue("s3")
    store.put("leases")
    return open_storage(f"s3://leases/{tmp_path.name}")


def newest(output: Storage) -> str:
    return f"{FOLDER}/{output.names(FOLDER, '.json')[-1]}"


def rewrite(output: Storage, **values: object) -> None:
    output.write_json(newest(output), output.read_json(newest(output)) | values)


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_second_run_is_told_who_works_where_since_when(output: Storage) -> None:
    with Lease(output, 60):
        held = output.read_json(newest(output))
        with pytest.raises(UserError, match="already running") as refused, Lease(output, 60):
            pass
        said = str(refused.value)
        assert f"{held['owner']} on {held['host']} (process {held['pid']}) since 20" in said
        assert "\n" not in said
    with Lease(output, 60):
        assert len(output.names(FOLDER)) == 1


def test_of_many_at_once_exactly_one_wins(output: Storage) -> None:
    with Lease(output, 60):
        pass
    rewrite(output, released=False, expires=0.0)
    start, winners, losers = threading.Barrier(6), [], []

    def compete(stack: ExitStack) -> None:
        start.wait()
        try:
            winners.append(stack.enter_context(Lease(output, 60)))
        except UserError as error:
            losers.append(error)

    with ExitStack() as stack:
        threads = [threading.Thread(target=compete, args=(stack,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (len(winners), len(losers)) == (1, 5)


def test_an_interrupted_run_gives_its_lease_back(output: Storage) -> None:
    with suppress(KeyboardInterrupt), Lease(output, 60):
        raise KeyboardInterrupt
    with Lease(output, 60):
        pass


def test_a_killed_run_here_holds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    with holder.stdout, holder:
        assert holder.stdout.readline() == b"held\n"
        output = open_storage(str(tmp_path))
        with pytest.raises(UserError, match=f"process {holder.pid}"), Lease(output, 60):
            pass
        holder.send_signal(signal.SIGKILL)
        wait_until(lambda: b") Z " in Path(f"/proc/{holder.pid}/stat").read_bytes())
        with Lease(output, 60):  # Dead, though its parent has not asked for it yet.
            pass
        holder.wait()
        with Lease(output, 60):
            pass


def test_a_run_that_died_elsewhere_holds_until_it_expires(output: Storage) -> None:
    with Lease(output, 60):
        pass
    rewrite(output, released=False, machine="another", host="far", expires=time.time() + 60)
    with pytest.raises(UserError, match=r"on far .* or until 20.* UTC if it died"):
        Lease(output, 60).__enter__()
    rewrite(output, expires=time.time() - 1)
    with Lease(output, 60):
        pass


def test_a_reused_process_number_is_another_process(tmp_path: Path) -> None:
    output = open_storage(str(tmp_path))
    with Lease(output, 60):
        rewrite(output, started="1")
        with Lease(output, 60):
            pass


def test_it_is_renewed_while_held(tmp_path: Path) -> None:
    output = open_storage(str(tmp_path))
    with Lease(output, 0.1):
        first = output.read_json(newest(output))
        wait_until(lambda: output.read_json(newest(output))["renewed"] > first["renewed"])
        later = output.read_json(newest(output))
        assert later["expires"] == pytest.approx(later["renewed"] + 0.1)


def test_a_run_that_stood_still_for_too_long_stops(output: Storage) -> None:
    with Lease(output, 60) as first:
        first.check()
        rewrite(output, expires=0.0)
        with Lease(output, 60):
            first.renew()
            with pytest.raises(RunError, match="ran out and was taken by"):
                first.check()
            held = output.read_json(newest(output))
    assert held["released"] is False
    assert output.read_json(newest(output))["token"] == held["token"]


def test_a_file_that_is_no_lease_is_named(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "000001.json").write_text(json.dumps({"owner": 1}))
    with pytest.raises(UserError, match=r"lease/000001.json: not a lease"):
        Lease(open_storage(str(tmp_path)), 60).__enter__()
