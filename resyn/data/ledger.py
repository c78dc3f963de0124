"""Commit records: a shard exists for readers when its record does."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from resyn.data.in_order import map_in_order
from resyn.errors import RunError
from resyn.storage import Storage, json_bytes

FOLDER = "ledger"
SHARDS = "shards"


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """What one work unit became.

    `rows` committed and `quarantine` refused by code; `seconds` of audio, `frames` and `tokens`
    in the committed rows; `latent_sum` and `latent_sum_squares` (D) over all frames of z as
    stored, from which the mean and spread of a whole data set follow without reading it;
    `arithmetic` names what else, beside the recipe, decides the last bits of tokens: device, batch
    size and bucket, compilation.
    """

    unit: int
    shard: str
    sha256: str
    bytes: int
    rows: int
    seconds: float
    frames: int
    tokens: int
    quarantine: dict[str, int] = field(default_factory=dict)
    latent_sum: list[float] = field(default_factory=list)
    latent_sum_squares: list[float] = field(default_factory=list)
    arithmetic: dict[str, Any] = field(default_factory=dict)

    @property
    def quarantined(self) -> int:
        """Rows refused."""
        return sum(self.quarantine.values())


def shard_file(unit: int) -> str:
    """Where the shard of a work unit lies, relative to the output."""
    return f"{SHARDS}/{unit:06d}.parquet"


def record_file(unit: int) -> str:
    """Where the commit record of a work unit lies, relative to the output."""
    return f"{FOLDER}/{unit:06d}.json"


def write_record(output: Storage, record: CommitRecord) -> None:
    """Make a written shard visible. The last write of a unit.

    A second writer of the same record is welcome. Raises RunError when the unit has another.
    """
    data = json_bytes(asdict(record))
    if not output.create_bytes(record_file(record.unit), data):
        check_same(output, record)


def check_same(output: Storage, record: CommitRecord) -> bool:
    """True when the unit is committed as `record` says, False when it is not committed.

    Raises RunError when it is committed otherwise.
    """
    name = record_file(record.unit)
    try:
        found = output.read_bytes(name)
    except FileNotFoundError:
        return False
    if found != json_bytes(asdict(record)):
        raise RunError(
            f"{output.uri}/{name}: another run has committed other bytes for this unit; encode "
            "with the same versions of resyn and of its libraries, or choose another --output"
        )
    return True


def committed_units(output: Storage) -> set[int]:
    """Units with a record."""
    return {int(name.removesuffix(".json")) for name in output.names(FOLDER, ".json")}


def read_record(output: Storage, unit: int) -> CommitRecord:
    """The record of a unit. Raises FileNotFoundError, or RunError when it cannot be understood."""
    name = record_file(unit)
    try:
        return CommitRecord(**output.read_json(name))
    except (ValueError, TypeError) as error:
        raise RunError(
            f"{output.uri}/{name}: not a commit record ({error}); delete it and encode again"
        ) from error


def other_arithmetic(output: Storage, arithmetic: dict[str, Any]) -> str:
    """In which words the first and the last unit committed differ in their `arithmetic`.

    Empty when they do not; records that name none are not compared.
    """
    units = sorted(committed_units(output))
    made = [read_record(output, unit).arithmetic for unit in sorted({*units[:1], *units[-1:]})]
    found = {
        f"{key} {other[key]} there, {value} here"
        for other in made
        for key, value in arithmetic.items()
        if other.get(key, value) != value
    }
    return "; ".join(sorted(found))


def read_records(output: Storage) -> list[CommitRecord]:
    """All records by unit. Raises RunError that names a record which cannot be read."""

    def read(unit: int) -> CommitRecord:
        return read_record(output, unit)

    return list(map_in_order(read, sorted(committed_units(output)), output.at_once))
