"""Commit records: a shard exists for readers when its record does."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

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
    stored, from which the mean and spread of a whole data set follow without reading it.
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


def read_records(output: Storage) -> list[CommitRecord]:
    """All records by unit. Raises RunError that names a record which cannot be read."""

    def read(unit: int) -> CommitRecord:
        name = record_file(unit)
        try:
            return CommitRecord(**output.read_json(name))
        except (ValueError, TypeError) as error:
            raise RunError(
                f"{output.uri}/{name}: not a commit record ({error}); delete it and encode again"
            ) from error

    return list(map_in_order(read, sorted(committed_units(output)), output.at_once))
