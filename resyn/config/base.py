"""Frozen settings, one override for the command line and Ray Tune, and a fingerprint."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from resyn.errors import UserError


class Settings(BaseModel):
    """Base of every configuration: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def to_yaml(self) -> str:
        """The resolved settings as YAML, in field order."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def override(self, values: Mapping[str, Any]) -> Self:
        """A copy with dotted keys replaced: `{"optim.lr": "3e-4"}`.

        Values are coerced by the field's type, so strings from a command line and numbers from
        Ray Tune serve alike. Raises UserError that names an unknown key or a bad value.
        """
        tree = self.model_dump(mode="json")
        for key, value in values.items():
            _assign(tree, key, value)
        return self.parse(tree)

    @classmethod
    def parse(cls, tree: Mapping[str, Any]) -> Self:
        """Build from plain values. Raises UserError with one line for the first fault."""
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(str(part) for part in fault["loc"]) or cls.__name__
            raise UserError(f"{where}: {fault['msg']} (got {fault['input']!r})") from error

    def fingerprint(self, exclude: set[str] | None = None) -> str:
        """Sixteen hex digits that name the recipe; `exclude` drops what is not part of it."""
        return fingerprint_of(self.model_dump(mode="json", exclude=exclude))


def fingerprint_of(tree: Mapping[str, Any]) -> str:
    """Sixteen hex digits that name plain values, whatever their order."""
    text = json.dumps(tree, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _assign(tree: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, leaf = dotted.split(".")
    node: Any = tree
    for part in parents:
        node = _child(node, part, dotted)
    _child(node, leaf, dotted)
    node[leaf] = value


def _child(node: Any, part: str, dotted: str) -> Any:
    known = sorted(node) if isinstance(node, dict) else []
    if part not in known:
        close = difflib.get_close_matches(part, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known here: {', '.join(known)}"
        raise UserError(f"--set {dotted}: there is no key {part!r}{hint}")
    return node[part]


def parse_assignments(pairs: Iterable[str]) -> dict[str, Any]:
    """`["a.b=1", "c=[1,2]"]` to `{"a.b": "1", "c": [1, 2]}`.

    Only lists, mappings, `null`, `true` and `false` are read as YAML; everything else stays text
    for the field's own type to coerce, because YAML reads `3e-4` as a string.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise UserError(f"--set {pair}: write it as dotted.key=value")
        structured = text[:1] in "[{" if text else False
        values[key] = yaml.safe_load(text) if structured or text in _YAML_WORDS else text
    return values


_YAML_WORDS = {"null", "true", "false"}


def load_yaml(path: str) -> dict[str, Any]:
    """A YAML mapping from a file. Raises UserError when missing or not a mapping."""
    file = Path(path)
    if not file.is_file():
        raise UserError(f"--config {path}: no such file")
    try:
        tree = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"--config {path}: not valid YAML ({error})".replace("\n", " ")) from error
    if not isinstance(tree, dict):
        raise UserError(f"--config {path}: expected a mapping of settings")
    return tree


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings to dotted keys: the inverse of `override`'s reading."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
