"""Every method by name. A new one is a file here and a line in `METHODS`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from resyn.errors import UserError
from resyn.methods.base import Method, ResynthesisMethod, hyper_parameters
from resyn.methods.coarse_to_fine import CoarseToFine
from resyn.methods.codec_autoencoder import CodecAutoencoder
from resyn.methods.regression import OneStepRegression
from resyn.methods.schroedinger_bridge import SchroedingerBridge

METHODS: dict[str, type[Method]] = {
    "c2f": CoarseToFine,
    "onestep": OneStepRegression,
    "sb": SchroedingerBridge,
    "codec": CodecAutoencoder,
}


def parse_method(tree: Mapping[str, Any]) -> Method:
    """`{"name": "sb", "beta_max": 0.3}` to a method.

    Raises UserError for an unknown name and pydantic's ValidationError for a wrong field.
    """
    fields = dict(tree)
    name = fields.pop("name", None)
    if name not in METHODS:
        raise UserError(f"--method {name}: unknown method; known: {', '.join(METHODS)}")
    return TypeAdapter(METHODS[name]).validate_python(fields)


def read_sampling(texts: Sequence[str]) -> dict[str, str]:
    """`["guidance=2"]` to `{"guidance": "2"}`. Raises UserError for a text without a value."""
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UserError(f"--sampling {text}: write it as name=value")
    return dict(text.split("=", 1) for text in texts)


def sampling_settings(method: Method) -> frozenset[str]:
    """Names of the hyper-parameters that may be changed on a trained model."""
    return getattr(method, "sampling_settings", frozenset())


def change_sampling(method: ResynthesisMethod, changes: Mapping[str, Any]) -> ResynthesisMethod:
    """`method` with some of its `sampling_settings` replaced, for a network already trained.

    Raises UserError for a setting that needs training anew, is unknown, or has a wrong value.
    """
    allowed = sampling_settings(method)
    for key in changes:
        if key not in allowed:
            known = ", ".join(sorted(allowed)) or "none"
            raise UserError(f"sampling {key}: {method.name} has no such setting; it has: {known}")
    fields = hyper_parameters(method) | dict(changes)
    try:
        return TypeAdapter(type(method)).validate_python(fields)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or ", ".join(changes)
        raise UserError(f"sampling {where}: {fault['msg']} (got {dict(changes)})") from error


__all__ = [
    "METHODS",
    "Method",
    "ResynthesisMethod",
    "change_sampling",
    "parse_method",
    "read_sampling",
    "sampling_settings",
]
