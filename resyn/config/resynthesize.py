"""Settings of resynthesis."""

from __future__ import annotations

from pydantic import Field

from resyn.config.base import Settings


class ResynthesizeConfig(Settings):
    """Codes or audio to waveforms."""

    model: str = ""
    """A checkpoint's or run's folder, `runs:/…` or `models:/name@alias`."""
    input: str = ""
    """`.npy`, `.npz`, audio, a folder of these, or an encoded data set."""
    output: str = ""
    """Folder of the waveforms."""
    nfe: int | None = Field(default=None, ge=1)
    """Network evaluations; None takes the method's own default."""
    seed: int = 0
    codec_weights: str | None = None
    weights: str = "ema"
    """`ema` or `raw`."""
    tracking_uri: str | None = None
    threads: int = Field(default=2, ge=1)
