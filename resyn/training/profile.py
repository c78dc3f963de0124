"""Where a step's time goes: its parts by the clock, its operators by torch's profiler."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from resyn.storage import open_storage

T = TypeVar("T")

#: Steps before anything is measured: compilation, first allocations, the optimiser's state.
WARM_UP = 2

#: Operators in the table.
TOP = 15

WAIT = "data wait"


class Parts:
    """Names the parts of a step. This one does not listen."""

    def __call__(self, name: str) -> AbstractContextManager[object]:
        """The part `name` of a step, as a block."""
        return nullcontext()

    def watch(self, batches: Iterable[T]) -> Iterator[T]:
        """`batches`, with the wait for each as a part, and the end of each step noted."""
        return iter(batches)


class StepProfiler(Parts):
    """Times the parts of `steps` steps after the warm-up, then traces as many.

    While parts are timed the device is waited for at each boundary, so that its work counts where
    it was queued; that costs some overlap, and the parts may add up to more than a usual step.
    Writes `trace.json` (for chrome://tracing or Perfetto) and `profile.md` into
    `<output>/profile/`, and says the table. The tracing is of the calling thread and its
    backward pass.
    """

    def __init__(
        self, steps: int, device: torch.device, output: str, say: Callable[[str], None]
    ) -> None:
        self.steps, self.device, self.say = steps, device, say
        self.folder = open_storage(output).at("profile")
        self.seconds: defaultdict[str, float] = defaultdict(float)
        """Wall time of each part, over all timed steps."""
        self.whole = 0.0
        """Wall time of all timed steps."""
        self._done = self._timed = self._traced = 0
        self._trace: profile | None = None
        self._begun = 0.0
        self._finished = False

    @property
    def _timing(self) -> bool:
        return WARM_UP <= self._done < WARM_UP + self.steps

    def __call__(self, name: str) -> AbstractContextManager[object]:
        """See `Parts`."""
        if self._timing:
            return self._clocked(name)
        return nullcontext() if self._trace is None else record_function(name)

    def watch(self, batches: Iterable[T]) -> Iterator[T]:
        """See `Parts`. Writes the profile once it is complete, or when the batches end."""
        iterator = iter(batches)
        while True:
            with self(WAIT):
                batch = list(_one(iterator))
            if not batch:
                break
            yield batch[0]
            self._step_done()
        self._finish()

    @contextmanager
    def _clocked(self, name: str) -> Iterator[None]:
        self._synchronise()
        begun = time.perf_counter()
        yield
        self._synchronise()
        self.seconds[name] += time.perf_counter() - begun

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _step_done(self) -> None:
        if self._finished:
            return
        self._synchronise()
        now = time.perf_counter()
        if self._timing:
            self.whole += now - self._begun
            self._timed += 1
        if self._trace is not None:
            self._traced += 1
        self._done += 1
        self._begun = now
        if self._done == WARM_UP + self.steps:
            self._start_trace()
        elif self._done == WARM_UP + 2 * self.steps:
            self._finish()

    def _start_trace(self) -> None:
        activities = [ProfilerActivity.CPU]
        if self.device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        self._trace = profile(activities=activities)
        self._trace.start()

    def _finish(self) -> None:
        if self._finished:
            return
        self._finished = True
        if not self._timed:
            self.say(f"profile: the run ended within its {WARM_UP} steps of warm-up")
            return
        trace, self._trace = self._trace, None
        tables = [self._parts_table()]
        if trace is not None:
            trace.stop()
            tables.append(self._operators_table(trace))
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "trace.json"
                trace.export_chrome_trace(str(file))
                self.folder.write_bytes("trace.json", file.read_bytes())
        text = "\n\n".join(tables) + "\n"
        self.folder.write_bytes("profile.md", text.encode())
        self.say(f"{text}\nprofile     {self.folder.uri}")

    def _parts_table(self) -> str:
        rest = self.whole - sum(self.seconds.values())
        rows = [
            f"| {name} | {1000 * value / self._timed:.2f} | {value / self.whole:.1%} |"
            for name, value in [*self.seconds.items(), ("rest", rest), ("step", self.whole)]
        ]
        head = ["| part | ms per step | share |", "|---|--:|--:|"]
        return "\n".join([*head, *rows])

    def _operators_table(self, trace: profile) -> str:
        on_device = self.device.type == "cuda"
        parts = set(self.seconds)
        times = [
            (e.self_device_time_total if on_device else e.self_cpu_time_total, e.count, e.key)
            for e in trace.key_averages()
            if e.key not in parts
        ]
        whole, steps = sum(time for time, _, _ in times) or 1, max(1, self._traced)
        rows = [
            f"| {key} | {count / steps:g} | {spent / 1000 / steps:.2f} | {spent / whole:.1%} |"
            for spent, count, key in sorted(times, reverse=True)[:TOP]
        ]
        head = [f"| operator ({self.device.type}) | calls per step | ms per step | share |"]
        return "\n".join([*head, "|---|--:|--:|--:|", *rows])


def _one(iterator: Iterator[T]) -> Iterator[T]:
    """The next item alone, or nothing at the end."""
    for item in iterator:
        yield item
        return
