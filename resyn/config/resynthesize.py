"""Settings of resynthesis."""

from __future__ import annotations

from typing import Literal

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
    sampling: tuple[str, ...] = ()
    """Sampling settings of the method, as `name=value`: `guidance=2`, `temperature=0.8`."""
    start_model: str | None = None
    """A second model, say of one step, whose estimate the bridge's walk leaves from."""
    chunk_seconds: float | None = Field(default=None, gt=0)
    """Longest stretch that is made at once; None makes every utterance whole."""
    overlap_seconds: float = Field(default=2.0, ge=0)
    """What neighbouring chunks share: context, and a cross-fade in its middle."""
    batch_size: int = Field(default=1, ge=1)
    """Utterances that go through the network together; longer ones than a chunk go alone."""
    codec_weights: str | None = None
    weights: str = "ema"
    """`ema` or `raw`."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where network and codec run; `auto` is cuda where this machine has a GPU."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the network's matrix products; the codec stays in float32."""
    tracking_uri: str | None = None
    threads: int = Field(default=2, ge=1)
