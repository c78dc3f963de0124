"""One output folder: opened anew or resumed, and never mixed with another recipe."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import safetensors.numpy

from resyn.codec.base import Codec, CodecSpec
from resyn.data import ledger, quarantine
from resyn.data.plan import PlanSettings, PlanSummary, listing_sha256, read_units, write_plan
from resyn.data.schema import DEFAULT_PRECISION
from resyn.data.sources import WITH_VOICE_ACTIVITY, Source, detect_source, open_source
from resyn.data.units import WorkUnit
from resyn.errors import UserError
from resyn.storage import Storage
from resyn.storage_faults import explained

#: Written last of a plan: its presence says that the plan is whole.
JOB_FILE = "encode.json"
CODEBOOKS_FILE = "codec/codebooks.safetensors"


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides what the shards hold; how many actors make them does not.

    Columns are in the order of the schema. `precision` is that of the encoder's network.
    """

    codec: CodecSpec
    columns: tuple[str, ...]
    plan: PlanSettings
    precision: str = DEFAULT_PRECISION

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the usual precision is left out, as it was before there was another."""
        tree = asdict(self)
        if self.precision == DEFAULT_PRECISION:
            del tree["precision"]
        return tree

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that name the recipe."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Job:
    """A planned output; `input` is the folder to which the manifest's URIs are relative."""

    input: Storage
    output: Storage
    recipe: Recipe
    summary: PlanSummary

    def pending(self) -> list[WorkUnit]:
        """Units without a commit record, in order."""
        done = ledger.committed_units(self.output)
        return [unit for unit in read_units(self.output) if unit.unit not in done]


def check_columns(spec: CodecSpec, columns: tuple[str, ...]) -> None:
    """Raises UserError for payloads that the codec does not make."""
    wanted = [name for name in columns if name != "audio"]
    if wanted and not spec.num_codebooks:
        raise UserError(
            f"--columns {','.join(columns)}: codec {spec.name} makes no {' and no '.join(wanted)}; "
            "use --columns audio"
        )


def resolve(recipe: Recipe, source: Storage) -> Recipe:
    """The recipe with the kind of source found out.

    Raises UserError for an input that is missing and for columns that the codec does not make, and
    RunError for an input that cannot be looked at.
    """
    check_columns(recipe.codec, recipe.columns)
    with explained(f"--input {source.uri}"):
        name = detect_source(source, recipe.plan.source)
    if recipe.plan.cut_by_vad and name not in WITH_VOICE_ACTIVITY:
        raise UserError(
            f"--cut-by-vad: source {name} states no voice activity; only "
            f"{' and '.join(WITH_VOICE_ACTIVITY)} do"
        )
    return replace(recipe, plan=replace(recipe.plan, source=name))


def open_job(
    source: Storage,
    output: Storage,
    recipe: Recipe,
    codec: Codec,
    tell: Callable[[PlanSummary], None] = lambda summary: None,
) -> Job:
    """Plan a new output, or take up the plan that is there.

    `tell` is called after every file that is planned.

    Raises UserError when the output was made by another recipe or the input has changed since.
    """
    recipe = resolve(recipe, source)
    if not output.exists(JOB_FILE):
        return _create(source, output, recipe, codec, tell)
    stored_recipe, summary = _read(output)
    _compare(stored_recipe, json.loads(json.dumps(recipe.to_dict())), output)
    opened = _open(source, recipe)
    if listing_sha256(opened) != summary.listing_sha256:
        raise UserError(
            f"--input {source.uri}: its files have changed since {output.uri} was planned; "
            "choose a new --output"
        )
    _clean(output)
    return Job(opened.base, output, recipe, summary)


def _open(source: Storage, recipe: Recipe) -> Source:
    return open_source(source, recipe.plan.source, recipe.plan.allowed_root)


def _create(
    source: Storage,
    output: Storage,
    recipe: Recipe,
    codec: Codec,
    tell: Callable[[PlanSummary], None],
) -> Job:
    if output.names(ledger.FOLDER, ".json"):
        raise UserError(
            f"--output {output.uri}: holds commit records but no {JOB_FILE}; choose a new --output"
        )
    summary = write_plan(source, output, recipe.plan, tell)
    tensors = {"codebooks": codec.codebooks.contiguous().numpy()}
    output.write_bytes(CODEBOOKS_FILE, safetensors.numpy.save(tensors))
    stored = {
        "fingerprint": recipe.fingerprint,
        "input": source.uri,
        "plan": asdict(summary),
        "recipe": recipe.to_dict(),
    }
    output.write_json(JOB_FILE, stored)
    return Job(_open(source, recipe).base, output, recipe, summary)


def _read(output: Storage) -> tuple[dict[str, Any], PlanSummary]:
    try:
        stored = output.read_json(JOB_FILE)
        return stored["recipe"], PlanSummary(**stored["plan"])
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"--output {output.uri}: {JOB_FILE} cannot be read ({error}); choose a new --output"
        ) from error


def _compare(stored: dict[str, Any], asked: dict[str, Any], output: Storage) -> None:
    usual = {"precision": DEFAULT_PRECISION}
    before, now = dict(_leaves(usual | stored)), dict(_leaves(usual | asked))
    keys = [key for key in sorted(before | now) if before.get(key) != now.get(key)]
    if keys:
        shown = "; ".join(f"{key} is {before.get(key)} there, {now.get(key)} here" for key in keys)
        raise UserError(
            f"--output {output.uri}: was made by another recipe ({shown}); "
            "choose a new --output or the same settings"
        )


def _leaves(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            pairs += _leaves(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", value))
    return pairs


def _clean(output: Storage) -> None:
    """Remove what a killed run left half written."""
    for folder in (ledger.FOLDER, ledger.SHARDS, quarantine.FOLDER):
        for name in output.names(folder, ".partial"):
            output.remove(f"{folder}/{name}")
