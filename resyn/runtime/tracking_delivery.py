"""Delivery of a journal's records by a thread that goes on trying."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from resyn.runtime.tracking_journal import Journal, Record
from resyn.storage_faults import first_line

#: Seconds from one attempt to the next: twice as many after each, up to the most.
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
BATCH = 1000


class Delivery:
    """Hands records to `write`, in order, in a thread of its own.

    `write` raises when the store cannot be had, and is then called again, later, with the same
    records; with none it only opens the run. A failure is reported once, until it is over.
    """

    def __init__(
        self,
        journal: Journal,
        write: Callable[[Sequence[Record]], None],
        warn: Callable[[str], object],
    ) -> None:
        self.journal = journal
        self.failing = False
        self._write, self._warn = write, warn
        self._opened = self._stopping = self._nudged = False
        self._patient = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="mlflow-delivery", daemon=True)
        self._thread.start()

    def send(self, records: Sequence[Record]) -> None:
        """Queue `records`; returns at once."""
        self.journal.add(records)
        with self._changed:
            self._changed.notify_all()

    def wait_open(self, seconds: float) -> None:
        """Until the run is open, an attempt has failed, or the time is up."""
        with self._changed:
            self._changed.wait_for(lambda: self._opened or self.failing, seconds)

    def flush(self, seconds: float, patient: bool = False) -> bool:
        """Wait until all is delivered; False when the time is up or, unless `patient`, a failure.

        Being patient makes attempts come quickly, the next one at once.
        """
        with self._changed:
            self._patient += patient
            self._nudged = self._nudged or patient
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._done or (self.failing and not patient), seconds)
            self._patient -= patient
            return self._done

    def stop(self) -> None:
        """End the thread after what it is at, without waiting for it."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    @property
    def _done(self) -> bool:
        return self._opened and not len(self.journal)

    def _work(self) -> None:
        wait = FIRST_WAIT
        while not self._stopping:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or not self._done)
            if self._stopping:
                return
            try:
                batch = self.journal.oldest(BATCH)
                self._write(batch.records)
                self.journal.done(batch)
            except Exception as error:  # Whatever it is, a record is not worth a training run.
                self._failed(error)
                self._pause(wait)
                wait = min(2 * wait, LONGEST_WAIT)
                continue
            wait = FIRST_WAIT
            with self._changed:
                self._opened, self.failing = True, False
                self._changed.notify_all()

    def _pause(self, seconds: float) -> None:
        with self._changed:
            shortest = FIRST_WAIT if self._patient else seconds
            self._changed.wait_for(lambda: self._stopping or self._nudged, shortest)
            self._nudged = False

    def _failed(self, error: Exception) -> None:
        if not self.failing:
            self._warn(
                f"MLflow cannot be reached ({first_line(error)}); the run goes on, and what it has "
                "to tell is kept and sent when MLflow is back"
            )
        with self._changed:
            self.failing = True
            self._changed.notify_all()
