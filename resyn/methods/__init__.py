"""Every method by name. A new one is a file here and a line in `METHODS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from resyn.errors import UserError
from resyn.methods.base import Method, ResynthesisMethod
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


__all__ = ["METHODS", "Method", "ResynthesisMethod", "parse_method"]
