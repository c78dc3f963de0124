"""Neural codecs behind one protocol, by name."""

from __future__ import annotations

import pkgutil

from resyn.codec.base import Codec, CodecSpec, EncoderOptions
from resyn.errors import UserError
from resyn.weights_cache import local_copy

#: Where each codec's loader lives; resolved on use, because some import heavy packages.
#: A loader takes `weights` (a local file, or None for the codec's own), a device and options.
CODECS: dict[str, str] = {
    "encodec_24khz": "resyn.codec.encodec:load_encodec",
    "encodec_24khz_random": "resyn.codec.encodec:load_encodec_random",
    "demo_24khz": "resyn.codec.demo:load_demo",
    "waveform_24khz": "resyn.codec.waveform:load_waveform",
}


#: Codecs whose encoder can be compiled: it runs in chunks of one shape.
COMPILABLE = frozenset({"encodec_24khz", "encodec_24khz_random"})


def load_codec(
    name: str,
    weights: str | None = None,
    device: str = "cpu",
    options: EncoderOptions | None = None,
    *,
    sha256: str | None = None,
    cache: str | None = None,
) -> Codec:
    """The codec `name`, its weights from the file `weights` or from the codec's own source.

    `weights` is a path or a URI. Remote ones, and all whose `sha256` is given, are copied below
    `cache` once per machine (`resyn.weights_cache`). Raises UserError for an unknown name, or
    weights that are missing or do not fit, and RunError for weights that cannot be read or have
    another hash.
    """
    if name not in CODECS:
        raise UserError(f"--codec {name}: unknown codec; known: {', '.join(CODECS)}")
    load = pkgutil.resolve_name(CODECS[name])
    if weights is None:
        return load(None, device, options)
    file = str(local_copy(weights, sha256, cache))
    try:
        return load(file, device, options)
    except UserError as error:
        raise UserError(str(error).replace(file, weights)) from error


__all__ = ["CODECS", "COMPILABLE", "Codec", "CodecSpec", "EncoderOptions", "load_codec"]
