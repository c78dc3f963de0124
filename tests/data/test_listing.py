"""Listing and planning stream: never more than one page of a bucket at a time."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import s3fs

from resyn import storage_listing
from resyn.codec import Codec
from resyn.data.job import Recipe, open_job
from resyn.data.plan import PlanSettings, listing_sha256
from resyn.data.sources import FolderSource, walk
from resyn.errors import RunError
from resyn.storage import Storage, open_storage
from tests.data.shapes import librilight_tar, make_clips
from tests.s3_proxy import S3

#: Where a folder and its neighbours differ in the character that follows.
SHOWN = ["a-b/x.flac", "a.flac", "a/b/c.flac", "a/x.flac", "ab/x.flac", "é.flac"]
HIDDEN = [".b/x.flac", "b/.x.flac", "a/b/notes.txt"]
PAGE = 1000


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_a_bucket_is_listed_like_a_folder_in_the_order_of_paths(
    page: int, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_listing, "PAGE", page)
    s3.put("listing")
    places = [open_storage(str(tmp_path)), open_storage("s3://listing/tree")]
    for place in places:
        for name in [*SHOWN, *HIDDEN]:
            place.write_bytes(name, name.encode())
    s3.put("listing/tree/a/")  # a folder's own marker
    for place in places:
        listed = [(file.uri, file.size) for file in walk(place)]
        assert listed == [(name, len(name.encode())) for name in SHOWN]
        assert [file.uri for file in walk(place, folder="a")] == SHOWN[2:4]
        assert place.names("a") == ["b", "x.flac"]
        assert place.names("", ".flac") == ["a.flac", "é.flac"]


class ManyObjects(BaseHTTPRequestHandler):
    """An S3 store whose bucket named N holds N objects, N of them in one flat folder."""

    protocol_version = "HTTP/1.1"
    served: list[int]

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        asked, count = parse_qs(address.query), int(address.path.strip("/"))
        first = int(asked.get("continuation-token", ["0"])[0])
        last = min(first + PAGE, count)
        self.served.append(last)
        entries = "".join(
            f"<Contents><Key>tree/{number:07d}.flac</Key><Size>{number}</Size>"
            f"<ETag>&quot;{number:032x}&quot;</ETag></Contents>"
            for number in range(first, last)
        )
        more = f"<NextContinuationToken>{last}</NextContinuationToken>" if last < count else ""
        cut = str(last < count).lower()
        body = (
            f"<ListBucketResult>{entries}<IsTruncated>{cut}</IsTruncated>{more}</ListBucketResult>"
        )
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


@contextmanager
def many_objects() -> Iterator[tuple[s3fs.S3FileSystem, list[int]]]:
    """A client of that store, and the ends of the pages served."""
    served: list[int] = []
    handler = type("Handler", (ManyObjects,), {"served": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        endpoint = f"http://127.0.0.1:{server.server_port}"
        keys = {"key": "a", "secret": "b", "client_kwargs": {"region_name": "us-east-1"}}
        options = {"use_listings_cache": False, "skip_instance_cache": True}
        yield s3fs.S3FileSystem(endpoint_url=endpoint, **keys, **options), served
    finally:
        server.shutdown()
        server.server_close()


def test_twenty_thousand_objects_take_the_memory_of_five_thousand() -> None:
    """A list of all would take four times as much; the client's own pages come and go."""
    with many_objects() as (fs, served):
        peaks = []
        for count in (2_000, 5_000, 20_000):  # the first for what a client keeps of any listing
            gc.collect()
            tracemalloc.start()
            listing_sha256(FolderSource(Storage(fs, f"{count}/tree")))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert served[-20:] == [PAGE * (page + 1) for page in range(20)]
        assert peaks[2] < 2 * peaks[1]


def test_a_page_is_asked_for_when_its_first_object_is() -> None:
    with many_objects() as (fs, served):
        files = walk(Storage(fs, "20000/tree"))
        for drawn in range(1, 3_002):
            assert next(files).size == drawn - 1
            assert len(served) == -(-drawn // PAGE)


def test_a_store_that_lists_in_no_order_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with many_objects() as (fs, _):
        page = {"Contents": [{"Key": f"tree/{name}", "Size": 1} for name in ("b.wav", "a.wav")]}
        monkeypatch.setattr(fs, "call_s3", lambda *_, **__: page)
        with pytest.raises(RunError, match=r"lists 'tree/a.wav' after 'tree/b.wav', in no order"):
            list(walk(Storage(fs, "2/tree")))


def test_a_plan_that_is_there_is_taken_up_without_a_look_into_the_archives(
    s3: S3, tmp_path: Path, make_tone: Callable[..., np.ndarray], waveform: Codec
) -> None:
    """Indexing an archive means a request for every header in it."""
    librilight_tar(tmp_path, make_clips(make_tone))
    s3.upload(tmp_path, "tars")
    recipe = Recipe(waveform.spec, ("audio",), PlanSettings("auto", 30.0, 1.0))
    root, output = open_storage("s3://tars"), open_storage(str(tmp_path / "out"))
    first = open_job(root, output, recipe, waveform)
    assert s3.count("GET", "tars/small.tar") > 0
    s3.calm()
    second = open_job(root, output, recipe, waveform)
    assert (second.summary, second.pending()) == (first.summary, first.pending())
    assert s3.count("*", "tars/small.tar") == 0
