"""What a neural codec is to the rest of resyn.

Names torch for the type checker alone: whoever writes shards needs a `CodecSpec` and no tensors.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

    from resyn.types import CodecFrames


Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """`precision` of the encoder's network; it flips codes, so shards of two are never mixed.

    `compiled` runs the network as one graph per static shape, which may change last bits.
    """

    precision: Precision = "fp32"
    compiled: bool = False


@dataclass(frozen=True, slots=True)
class CodecSpec:
    """Identity and geometry of a codec; stored in every shard and checkpoint.

    `sample_rate` in Hz, `hop` in samples per frame, `dim` the latent width D, `num_codebooks` K,
    `codebook_size` V. `weights_sha256` names the weights. `random_weights` is True for a codec
    that was never trained and serves shapes, speed and fault tests only.
    """

    name: str
    weights_sha256: str
    sample_rate: int
    hop: int
    dim: int
    num_codebooks: int
    codebook_size: int
    random_weights: bool = False

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop

    @property
    def bandwidth_kbps(self) -> float:
        """Bit rate of all codebooks in kbit/s."""
        if not self.num_codebooks:
            return 0.0
        return self.num_codebooks * math.log2(self.codebook_size) * self.frame_rate / 1000

    def num_frames(self, num_samples: int) -> int:
        """Frames that cover `num_samples`."""
        return -(-num_samples // self.hop)

    def to_dict(self) -> dict[str, object]:
        """Plain values, for file metadata and JSON."""
        return asdict(self)


@runtime_checkable
class Codec(Protocol):
    """Audio to latents and codes, and back. Calls run without gradient, in evaluation mode."""

    @property
    def spec(self) -> CodecSpec:
        """Identity and geometry."""
        ...

    @property
    def codebooks(self) -> Tensor:
        """The K codebooks, (K,V,D) float32 on the CPU."""
        ...

    def encode(self, audio: Tensor) -> CodecFrames:
        """(B,1,S) with S a multiple of `hop` to z (B,T,D) and codes (B,K,T), T = S / hop.

        Right-padding an item with zeros leaves its earlier frames' codes unchanged.
        """
        ...

    def dequantize(self, codes: Tensor) -> Tensor:
        """(B,k,T), any k <= K, to the sum of codebook vectors (B,T,D)."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """(B,T,D) in codec units to (B,1,S), S = T * hop."""
        ...


@runtime_checkable
class PieceEncoder(Protocol):
    """What a codec may have beside `Codec`: an encoder whose memory does not grow with the audio.

    Use it through `resyn.codec.pieces.encode_pieces`.
    """

    def encode_pieces(self, pieces: Iterable[Tensor]) -> Iterator[CodecFrames]:
        """Consecutive audio (B,1,·), whole frames each, to consecutive stretches of frames.

        Together they are what `encode` makes of the joined pieces.
        """
        ...
