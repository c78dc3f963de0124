"""All shards of a folder are of one codec and have one schema, or they are not read."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from resyn.data.schema import read_precision, read_spec
from resyn.errors import UserError


def check_agreement(uri: str, shards: Sequence[str], schemas: Sequence[pa.Schema]) -> None:
    """Raises UserError, with the difference, for the first shard that is unlike the first of all.

    `shards` are the files below `uri` whose schemas are given.
    """
    _compare(
        uri,
        shards,
        [_codec(f"{uri}/{shard}", schema) for shard, schema in zip(shards, schemas, strict=True)],
        "made by another codec",
        "keep the shards of one codec in one folder",
    )
    _compare(
        uri,
        shards,
        [{field.name: str(field.type) for field in schema} for schema in schemas],
        "other columns",
        "encode it again with the same --columns and the same version of resyn",
    )


def _codec(where: str, schema: pa.Schema) -> dict[str, object]:
    try:
        return {**read_spec(schema).to_dict(), "precision": read_precision(schema)}
    except ValueError as error:
        raise UserError(f"{where}: not a shard ({error}); encode it again") from error


def _compare(
    uri: str, shards: Sequence[str], found: Sequence[dict[str, object]], fault: str, remedy: str
) -> None:
    first = found[0]
    for shard, other in zip(shards, found, strict=True):
        if other != first:
            shown = "; ".join(
                f"{key} is {first.get(key, 'absent')} in {shards[0]}, "
                f"{other.get(key, 'absent')} here"
                for key in first | other
                if first.get(key) != other.get(key)
            )
            raise UserError(f"{uri}/{shard}: {fault} ({shown}); {remedy}")
