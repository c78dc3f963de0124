"""Settings of `pipelines/encode.py`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from resyn.config.base import Settings
from resyn.errors import UserError


def _split_commas(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


def _read_range(value: Any) -> Any:
    """`4`, `"4"` and `"1:8"` as least and most."""
    parts = value.split(":") if isinstance(value, str) else value
    parts = [parts] if isinstance(parts, int) else parts
    return parts * 2 if isinstance(parts, list) and len(parts) == 1 else parts


def _check_range(value: tuple[int, int]) -> tuple[int, int]:
    if not 1 <= value[0] <= value[1]:
        raise ValueError("write it as N or MIN:MAX, with 1 <= MIN <= MAX")
    return value


def _show_range(value: tuple[int, int]) -> str:
    return str(value[0]) if value[0] == value[1] else f"{value[0]}:{value[1]}"


def _read_switch(value: Any) -> Any:
    """YAML's `on` and `off` are true and false."""
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


#: Least and most, as `N` or `MIN:MAX`.
Range = Annotated[
    tuple[int, int],
    BeforeValidator(_read_range),
    AfterValidator(_check_range),
    PlainSerializer(_show_range),
]
Columns = Annotated[
    tuple[Literal["codes", "z", "audio"], ...], Field(min_length=1), BeforeValidator(_split_commas)
]


class EncodeConfig(Settings):
    """How audio becomes token shards."""

    input: str = ""
    """Audio: a path, `file://` or `s3://` of a folder, or of a manifest, tar or Parquet file."""
    output: str = ""
    """Folder for manifest, shards, ledger and quarantine; an unfinished one is resumed."""
    source: str = "auto"
    """Shape of the input: auto, or a tree (librispeech, librilight, folder), a container
    (webdataset, parquet: one file or a folder of them) or a manifest (nemo, lhotse, fairseq)."""
    allowed_root: str = ""
    """Folder that the paths in a manifest may not leave; empty for the manifest's own."""
    cut_by_vad: bool = False
    """Keep only what LibriLight's `voice_activity` calls speech, its spans stitched to segments."""
    split: str = ""
    """Name for the `split` column; empty keeps what the corpus says."""
    codec: str = "encodec_24khz"
    """Name of the codec."""
    codec_weights: str | None = None
    """The codec's weights, a path or URI; None for the codec's own source. Every machine of the
    cluster copies the file once, and every actor checks it against the hash planned with."""
    weights_cache: str | None = None
    """Folder on each machine for copies of weights; None for one in its temporary folder."""
    columns: Columns = ("codes", "z")
    """Payloads of a shard: codes, z, audio."""
    segment_seconds: float | None = Field(default=None, ge=1.0, le=600.0)
    """Longest segment in seconds; None for 30, or 60 with `cut_by_vad` as in LibriLight."""
    unit_minutes: float = Field(default=30.0, gt=0.0, le=600.0)
    """Audio per work unit, and so per shard, in minutes."""
    batch_size: int | None = Field(default=None, ge=1)
    """Segments encoded at once; None is 1 on a CPU, where that is fastest, and 32 on a GPU."""
    bucket_seconds: float | None = Field(default=None, gt=0.0)
    """Segments are padded on the right to a multiple of this length, which leaves their codes as
    they are, and those of one padded length are encoded together. None is 1 on a CPU, where a batch
    is one segment and padding is all that can be wasted, and `segment_seconds` on a GPU: one length
    fills its batches, where lengths by the second would leave most of their places empty."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the codec runs; `auto` is cuda where the cluster has GPUs, or may get some."""
    num_actors: Range | None = None
    """Codec actors: `N`, or `MIN:MAX` for a pool that Ray grows and shrinks with the work. None is
    as many as the cluster's CPUs (or GPUs) hold. A cluster that adds machines on demand is asked
    for MIN actors at once, and for more only while those that run are busy."""
    num_gpus_per_actor: float = Field(default=1.0, gt=0.0, le=1.0)
    """Share of a GPU that each actor takes; 0.5 puts two on each."""
    threads_per_actor: int = Field(default=1, ge=1)
    """CPU threads of each codec actor."""
    units_per_actor: int | None = Field(default=None, ge=2)
    """Work units between the start of their decoding and their commit, per actor; this bounds what
    the object store holds. None is 4 on a CPU and 32 on a GPU, which takes many decoders. A unit
    of 30 minutes is 86 MB decoded."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the encoder's network; an LSTM and the quantiser stay in float32. bf16 flips
    codes: on a CPU 94.5 % of them stay those of fp32 with `encodec_24khz_random` (99.0 % at the
    first level, 90.2 % at the eighth), 96.7 % with `demo_24khz` (99.7 and 93.2 %), on 48 s of
    synthetic speech (`tests/bench/bf16_codes.py`). So it is a part of the recipe, and shards of two
    precisions are not mixed."""
    compile: Annotated[Literal["auto", "on", "off"], BeforeValidator(_read_switch)] = "auto"
    """Compile the encoder for its static shapes (CUDA graphs on a GPU); `auto` does on a GPU."""
    max_quarantine: float | None = Field(default=None, ge=0.0, le=1.0)
    """Share of planned segments and refused files that may be quarantined before the job fails;
    None is 0.05 for an input of 1,000 or more, and no limit for a smaller one. A damaged tar
    archive or Parquet table, of which nobody knows what it held, fails the job unless this is 1."""
    lease_seconds: float = Field(default=120.0, ge=4.0)
    """A run that is not heard of for so long has lost its output to the next one."""

    def check(self) -> None:
        """Raises UserError when a flag that has no default was not given."""
        for name in ("input", "output"):
            if not getattr(self, name):
                raise UserError(f"--{name} is missing: name the place of the {name}")

    def resolved(self) -> EncodeConfig:
        """The same settings with the defaults that depend on others filled in."""
        seconds = self.segment_seconds or (60.0 if self.cut_by_vad else 30.0)
        return self.model_copy(update={"segment_seconds": seconds})
