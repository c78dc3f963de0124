"""What a person reads while and after an encode runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from resyn.codec.base import CodecSpec
from resyn.data.audit import AuditReport, show_lost
from resyn.data.ledger import CommitRecord
from resyn.data.plan import PlanSummary
from resyn.errors import RunError

#: FLAC of speech takes about this share of its 16-bit samples.
_FLAC_SHARE = 0.55
#: Without a limit of the user's own, this share of a large input may be refused.
_USUAL_QUARANTINE, _LARGE_INPUT = 0.05, 1000


def projected_bytes(spec: CodecSpec, columns: Collection[str], seconds: float) -> int:
    """Bytes of the payloads of `seconds` of audio."""
    per_frame = {"codes": 2 * spec.num_codebooks, "z": 2 * spec.dim}
    per_frame["audio"] = int(2 * spec.hop * _FLAC_SHARE)
    return int(seconds * spec.frame_rate * sum(per_frame[name] for name in columns))


def plan_lines(plan: PlanSummary, spec: CodecSpec, columns: Collection[str]) -> str:
    """A plan in words."""
    size = show_bytes(projected_bytes(spec, columns, plan.seconds))
    return (
        f"plan: {plan.files} files, {plan.seconds / 3600:.3f} h in {plan.segments} segments and "
        f"{plan.units} units, {_counts(plan.refused)} refused; about {size} of "
        f"{','.join(columns)} by {spec.name}{show_lost(plan.lost)}"
    )


class PlanProgress:
    """Prints a line every few seconds while an input is planned."""

    def __init__(self, every_seconds: float = 5.0) -> None:
        self._every = every_seconds
        self._started = self._told = time.monotonic()

    def __call__(self, plan: PlanSummary) -> None:
        """Say how far it is, if it is time again."""
        now = time.monotonic()
        if now - self._told < self._every:
            return
        self._told = now
        speed = plan.files / (now - self._started)
        print(
            f"planning: {plan.files} files, {plan.seconds / 3600:.3f} h, {speed:.0f} files/s",
            flush=True,
        )


class Progress:
    """Lines for finished units: how far, how fast, how long still."""

    def __init__(
        self, num_units: int, seconds: float, workers: Mapping[str, int] | None = None
    ) -> None:
        self._num_units = num_units
        self._seconds = seconds
        self._workers = workers or {}
        self._busy: Counter[str] = Counter()
        self._done: list[CommitRecord] = []
        self._started = time.monotonic()
        self._first_after = 0.0

    def line(self, record: CommitRecord, busy: Mapping[str, float] | None = None) -> str:
        """Count `record`, on which the stages worked `busy` seconds, and say where we are."""
        self._busy.update(busy or {})
        if not self._done:
            self._first_after = time.monotonic() - self._started
        self._done.append(record)
        encoded = _seconds(self._done)
        speed = self._speed()
        line = f"unit {len(self._done)}/{self._num_units}  {encoded / 3600:.3f} h"
        if speed == 0:  # a unit whose every file was refused encodes nothing, and may come first
            return line
        left = max(self._seconds - encoded, 0.0) / speed
        return f"{line}  {speed:.1f}x real time  {show_time(left)} left"

    def closing(self) -> str:
        """What this run did, and which share of their time the workers of each stage worked."""
        wall = max(time.monotonic() - self._started, 1e-9)
        shares = ", ".join(
            f"{stage} {self._busy[stage] / (wall * count):.0%} of {count}"
            for stage, count in self._workers.items()
        )
        busy = f"; workers busy: {shares}" if shares else ""
        return (
            f"encoded {_seconds(self._done) / 3600:.3f} h in {wall:.1f} s (first unit after "
            f"{self._first_after:.1f} s), {self._speed():.1f}x real time{busy}"
        )

    def _speed(self) -> float:
        """Audio seconds per second, from the first unit's end on once there are more."""
        since = self._first_after if len(self._done) > 1 else 0.0
        counted = self._done[1:] if len(self._done) > 1 else self._done
        return _seconds(counted) / max(time.monotonic() - self._started - since, 1e-9)


def _seconds(records: Iterable[CommitRecord]) -> float:
    return sum(record.seconds for record in records)


def closing_lines(records: Iterable[CommitRecord], plan: PlanSummary) -> str:
    """What an output holds: hours, rows, bytes, what was quarantined by code, and what of the
    input is not in the plan.
    """
    records = list(records)
    refusals = Counter(plan.refused)
    for record in records:
        refusals.update(record.quarantine)
    seconds = _seconds(records)
    size = show_bytes(sum(record.bytes for record in records))
    return (
        f"{len(records)} shards, {seconds / 3600:.3f} h, {sum(r.rows for r in records)} rows, "
        f"{size}; quarantined: {_counts(refusals)}{show_lost(plan.lost)}"
    )


def check_quarantine(report: AuditReport, most: float | None, uri: str) -> None:
    """Raises RunError when more than the share `most` of the input was refused.

    The share is of planned segments and of files refused before they had segments. None stands for
    0.05 where there are 1,000 or more of them, and for no limit where there are fewer.

    What a damaged archive or table held is in no count, so it is above every share but 1, which
    the user must have asked for.
    """
    if report.lost and (most is None or most < 1):
        raise RunError(
            f"{uri}: {len(report.lost)} damaged archives or tables are not wholly in the plan; "
            f"mend them and encode to a new --output, or accept the loss with --max-quarantine 1; "
            f"see {uri}/quarantine"
        )
    refused = report.quarantined + report.refused_files
    total = max(1, report.planned + report.refused_files)
    if most is None:
        most = _USUAL_QUARANTINE if total >= _LARGE_INPUT else 1.0
    if refused / total > most:
        raise RunError(
            f"{uri}: {refused / total:.1%} of the input is quarantined, above --max-quarantine "
            f"{most:g}; see {uri}/quarantine, or allow more and run the same command again"
        )


def _counts(counts: Mapping[str, int]) -> str:
    if not counts:
        return "none"
    return ", ".join(f"{counts[code]} {code}" for code in sorted(counts))


def show_bytes(count: float) -> str:
    """A size with a decimal unit: 1.5 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def show_time(seconds: float) -> str:
    """A duration: 42 s, 3 min 20 s, 5 h 07 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
