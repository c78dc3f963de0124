"""`demo_24khz`: a small neural codec trained by this project on synthetic speech.

Recipe and model card lie beside the weights in `resyn/codec/weights/`. Any other codec that
`pipelines/train.py --method codec` trains loads through the same file layout.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from resyn.codec.arithmetic import encoder_precision
from resyn.codec.base import Codec, CodecSpec, EncoderOptions, Precision
from resyn.codec.frame_network import FrameCodecNetwork, FrameCodecShape
from resyn.codec.pieces import joined, windows
from resyn.errors import UserError
from resyn.types import CodecFrames

WEIGHTS = Path(__file__).parent / "weights" / "demo_24khz.safetensors"

#: Longest stretch (frames) that is encoded at once: 40 s.
CHUNK_FRAMES = 3000

#: Buffers that only training needs.
TRAINING_STATE = (".counts", ".sums")


class FrameCodec:
    """A trained frame-domain network behind the `Codec` protocol.

    `precision` is that of the encoder's network alone.
    """

    def __init__(
        self,
        network: FrameCodecNetwork,
        spec: CodecSpec,
        device: str = "cpu",
        precision: Precision = "fp32",
    ) -> None:
        self.precision: Precision = precision
        self.network = network.eval().requires_grad_(False).to(device)
        self.spec = spec
        self.device = torch.device(device)

    @property
    def codebooks(self) -> Tensor:
        """(K,V,D) float32 on the CPU."""
        return self.network.quantizer.codebooks.float().cpu()

    @torch.no_grad()
    def encode(self, audio: Tensor) -> CodecFrames:
        """(B,1,S) with S a multiple of 320 to z (B,T,128) and codes (B,8,T).

        Memory does not grow with S but for z and codes: long audio is encoded in chunks that see
        of their neighbours all that the encoder reaches.
        """
        return joined(self.encode_pieces([audio]))

    def encode_pieces(self, pieces: Iterable[Tensor]) -> Iterator[CodecFrames]:
        """`encode` of consecutive pieces (B,1,·), S a multiple of 320 each, as they come."""
        hop, (before, after) = self.network.shape.hop, self.network.encoder_reach
        for seen, past, count in windows(pieces, hop, CHUNK_FRAMES, before, after):
            yield self._encode_chunk(seen, slice(past, past + count))

    @torch.no_grad()
    def _encode_chunk(self, seen: Tensor, own: slice) -> CodecFrames:
        with encoder_precision(self.device, self.precision):
            z = self.network.encode(seen.to(self.device))[:, own].float()
        return CodecFrames(z, self.network.quantizer.encode(z))

    @torch.no_grad()
    def dequantize(self, codes: Tensor) -> Tensor:
        """(B,k,T) to the sum of the k codebook vectors, (B,T,128)."""
        books = self.network.quantizer.codebooks
        total = books[0][codes[:, 0].to(self.device)]
        for level in range(1, codes.shape[1]):
            total = total + books[level][codes[:, level].to(self.device)]
        return total

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """(B,T,128) to (B,1,S), clipped to [-1, 1]."""
        return self.network.decode(latents.to(self.device)).clamp(-1, 1)


def spec_of(name: str, shape: FrameCodecShape, sha256: str) -> CodecSpec:
    """The identity of a codec of this family."""
    return CodecSpec(
        name=name,
        weights_sha256=sha256,
        sample_rate=shape.sample_rate,
        hop=shape.hop,
        dim=shape.dim,
        num_codebooks=shape.num_codebooks,
        codebook_size=shape.codebook_size,
    )


def load_demo(weights: str | None, device: str, options: EncoderOptions | None = None) -> Codec:
    """The committed codec, or the one in the safetensors file `weights`.

    Raises UserError when the file is missing or is no codec of this family, and for an encoder
    that is to be compiled.
    """
    options = options or EncoderOptions()
    if options.compiled:
        raise UserError("--set compile=on: codec demo_24khz is not compiled; use compile=auto")
    file = Path(weights) if weights else WEIGHTS
    if not file.is_file():
        raise UserError(f"--codec-weights {file}: no such file; train one with --method codec")
    try:
        with safe_open(file, "pt") as opened:
            shape = FrameCodecShape(**json.loads((opened.metadata() or {})["shape"]))
            state = {name: opened.get_tensor(name).float() for name in opened.keys()}  # noqa: SIM118
        network = FrameCodecNetwork(shape)
        state["quantizer.initialised"] = torch.ones((), dtype=torch.bool)
        missing, unexpected = network.load_state_dict(state, strict=False)
    except (SafetensorError, KeyError, TypeError, RuntimeError, ValueError) as error:
        raise UserError(f"--codec-weights {file}: not a codec of this family ({error})") from error
    wrong = [name for name in missing if not name.endswith(TRAINING_STATE)] + unexpected
    if wrong:
        raise UserError(f"--codec-weights {file}: tensor {wrong[0]!r} does not fit the network")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return FrameCodec(network, spec_of("demo_24khz", shape, digest), device, options.precision)


def export_demo(network: FrameCodecNetwork) -> bytes:
    """The network as a half-precision safetensors file, with its shape as metadata."""
    skip = (*TRAINING_STATE, ".initialised")
    state = {
        name: tensor.detach().half().contiguous()
        for name, tensor in network.state_dict().items()
        if not name.endswith(skip)
    }
    return save(state, {"shape": json.dumps(asdict(network.shape))})
