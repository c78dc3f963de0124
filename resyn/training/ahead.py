"""Loading ahead of need."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def load_ahead(
    load: Callable[[S], T], items: Iterable[S], depth: int = 4, threads: int = 4
) -> Iterator[T]:
    """`load(item)` of every item, in order, computed in `threads` while the caller works.

    At most `depth` results are loading or waiting. What `load` raises is raised in its place.
    """
    source = iter(items)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="load-ahead")
    waiting: deque[Future[T]] = deque(pool.submit(load, item) for item in islice(source, depth))
    try:
        while waiting:
            loaded = waiting.popleft().result()
            waiting.extend(pool.submit(load, item) for item in islice(source, 1))
            yield loaded
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
