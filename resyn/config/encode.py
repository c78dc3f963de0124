"""Settings of `pipelines/encode.py`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from resyn.config.base import Settings
from resyn.errors import UserError


def _split_commas(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


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
    """File of the codec's weights; None for the codec's own source."""
    columns: Columns = ("codes", "z")
    """Payloads of a shard: codes, z, audio."""
    segment_seconds: float | None = Field(default=None, ge=1.0, le=600.0)
    """Longest segment in seconds; None for 30, or 60 with `cut_by_vad` as in LibriLight."""
    unit_minutes: float = Field(default=30.0, gt=0.0, le=600.0)
    """Audio per work unit, and so per shard, in minutes."""
    batch_size: int = Field(default=1, ge=1)
    """Segments encoded at once; 1 is fastest on a CPU."""
    bucket_seconds: float = Field(default=1.0, gt=0.0)
    """Segments are padded to a multiple of this length."""
    num_actors: int | None = Field(default=None, ge=1)
    """Codec actors; None for one per CPU (or GPU) of the cluster."""
    threads_per_actor: int = Field(default=1, ge=1)
    """CPU threads of each codec actor."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the codec runs; `cuda` takes one GPU per actor."""
    max_quarantine: float | None = Field(default=None, ge=0.0, le=1.0)
    """Share of planned segments and refused files that may be quarantined before the job fails;
    None is 0.05 for an input of 1,000 or more, and no limit for a smaller one."""
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
