"""Neural codecs behind one protocol, by name."""

from __future__ import annotations

import pkgutil

from resyn.codec.base import Codec, CodecSpec
from resyn.errors import UserError

#: Where each codec's loader lives; resolved on use, because some import heavy packages.
#: A loader takes `weights` (a local file, or None for the codec's own) and a device.
CODECS: dict[str, str] = {
    "encodec_24khz": "resyn.codec.encodec:load_encodec",
    "encodec_24khz_random": "resyn.codec.encodec:load_encodec_random",
    "demo_24khz": "resyn.codec.demo:load_demo",
    "waveform_24khz": "resyn.codec.waveform:load_waveform",
}


def load_codec(name: str, weights: str | None = None, device: str = "cpu") -> Codec:
    """The codec `name`, its weights from the file `weights` or from the codec's own source.

    Raises UserError for an unknown name, or weights that are missing or do not fit.
    """
    if name not in CODECS:
        raise UserError(f"--codec {name}: unknown codec; known: {', '.join(CODECS)}")
    return pkgutil.resolve_name(CODECS[name])(weights, device)


__all__ = ["CODECS", "Codec", "CodecSpec", "load_codec"]
