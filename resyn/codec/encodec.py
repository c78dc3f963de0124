"""EnCodec at 24 kHz and 6 kbit/s: 8 codebooks of 1024, 128 wide, 75 frames a second.

With `encodec_stream` the only importer of the `encodec` package. Its metadata states CC-BY-NC 4.0,
its source files another licence: a user of these weights should settle that for themselves.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast
from urllib.error import URLError

import safetensors.torch
import torch
import torch.nn.functional as F
from encodec.model import ROOT_URL, EncodecModel
from encodec.quantization.core_vq import EuclideanCodebook, VectorQuantization
from torch import Tensor, nn
from torch.nn.utils import remove_weight_norm

from resyn.codec.arithmetic import FastElu, encoder_precision
from resyn.codec.base import Codec, CodecSpec, EncoderOptions
from resyn.codec.encodec_stream import CHUNK_FRAMES, EncoderSections, EncoderStream
from resyn.codec.pieces import joined, windows
from resyn.errors import UserError
from resyn.types import CodecFrames
from resyn.weights_cache import exclusive

#: The file that the package itself downloads; eight digits of its sha256 are in its name.
CHECKPOINT = "encodec_24khz-d7cc33bc.th"
NUM_CODEBOOKS = 8
_SAMPLE_RATE, _HOP, _DIM, _CODEBOOK_SIZE = 24_000, 320, 128, 1024
_RANDOM_SEED = 24_000
#: Default initialisation lets a signal fade from layer to layer; with this gain and no biases the
#: random encoder's latents spread about as widely as its codebooks.
_RANDOM_GAIN, _RANDOM_SPREAD = 2.0, 0.3


class EncodecCodec:
    """The codec protocol around the package's network, in evaluation mode.

    Everything but the encoder under `options` is float32. Of the network's 32 codebooks the first
    eight are kept, without what only training needs.
    """

    def __init__(
        self,
        network: EncodecModel,
        spec: CodecSpec,
        device: str = "cpu",
        options: EncoderOptions | None = None,
    ) -> None:
        self.spec = spec
        self._device = torch.device(device)
        self._options = options or EncoderOptions()
        network.quantizer.vq.layers = network.quantizer.vq.layers[:NUM_CODEBOOKS]
        for module in list(network.modules()):
            if hasattr(module, "weight_g"):
                remove_weight_norm(module)
            for name, child in module.named_children():
                if isinstance(child, nn.ELU):
                    setattr(module, name, FastElu())
        for book in _books(network):
            del book.embed_avg, book.cluster_size
        self._network = network.eval().requires_grad_(False).to(self._device)
        self._codebooks = torch.stack([cast(Tensor, book.embed) for book in _books(network)])
        for book, vectors in zip(_books(network), self._codebooks, strict=True):
            book.embed = vectors
        self._sections = EncoderSections(network.encoder, self._options.compiled)

    @property
    def codebooks(self) -> Tensor:
        """The codebooks, (8,1024,128) float32 on the CPU."""
        return self._codebooks.cpu()

    @torch.inference_mode()
    def encode(self, audio: Tensor) -> CodecFrames:
        """(B,1,S), S a multiple of 320, to z (B,T,128) and codes (B,8,T) on the codec's device.

        Memory does not grow with S but for z and codes themselves. Clips of fewer than 8 frames
        depend on what pads them, because the network reflects its first frames. Raises ValueError
        for another shape.
        """
        if audio.dim() != 3 or audio.shape[1] != 1 or audio.shape[2] % _HOP:
            raise ValueError(f"audio must be (B,1,S), S a multiple of {_HOP}, not {audio.shape}")
        return joined(self.encode_pieces([audio]))

    def encode_pieces(self, pieces: Iterable[Tensor]) -> Iterator[CodecFrames]:
        """`encode` of consecutive pieces (B,1,·), S a multiple of 320 each, as they come."""
        stream = EncoderStream(self._sections)
        for window in windows(pieces, _HOP, CHUNK_FRAMES):
            yield self._encode_chunk(stream, window.audio)

    @torch.inference_mode()
    def _encode_chunk(self, stream: EncoderStream, chunk: Tensor) -> CodecFrames:
        frames = chunk.shape[2] // _HOP
        if self._options.compiled:  # one shape for all: the padding's frames are cut off
            chunk = F.pad(chunk, (0, (CHUNK_FRAMES - frames) * _HOP))
        with encoder_precision(self._device, self._options.precision):
            z = stream(chunk.to(self._device)).float()[..., :frames]
        codes = self._network.quantizer.vq.encode(z, n_q=NUM_CODEBOOKS).transpose(0, 1)
        return CodecFrames(z.transpose(1, 2), codes)

    @torch.inference_mode()
    def dequantize(self, codes: Tensor) -> Tensor:
        """(B,k,T), k <= 8, to the sum of codebook vectors (B,T,128)."""
        levels = codes.to(self._device).unbind(1)
        pairs = zip(levels, self._codebooks, strict=False)
        return torch.stack([F.embedding(level, book) for level, book in pairs]).sum(0)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """(B,T,128) to (B,1,S), S = 320 T."""
        return self._network.decoder(latents.to(self._device).transpose(1, 2))


def load_encodec(weights: str | None, device: str, options: EncoderOptions | None = None) -> Codec:
    """The trained network, from the file `weights` or from the package's own download.

    `weights` is a state dict in the published layout, `.th` or `.safetensors`. Raises UserError
    for a file that is missing or of another layout, and when there is neither file nor network.
    """
    path = _published_file() if weights is None else Path(weights)
    if not path.is_file():
        raise UserError(f"--codec-weights {path}: no such file")
    network = _untrained()
    _load_state(network, _read_state(path), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return EncodecCodec(network, _spec("encodec_24khz", digest), device, options)


def load_encodec_random(
    weights: str | None, device: str, options: EncoderOptions | None = None
) -> Codec:
    """The same network with seeded random weights: for shapes, speed and fault tests only."""
    if weights is not None:
        raise UserError(
            f"--codec-weights {weights}: encodec_24khz_random makes its own; drop the flag or "
            "use --codec encodec_24khz"
        )
    network = random_network()
    spec = _spec("encodec_24khz_random", _digest(network), True)
    return EncodecCodec(network, spec, device, options)


def random_network() -> EncodecModel:
    """The package's own network with the weights of `encodec_24khz_random`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_RANDOM_SEED)
        network = _untrained()
        _enliven(network)
    return network


def _books(network: EncodecModel) -> list[EuclideanCodebook]:
    layers = cast("Iterable[VectorQuantization]", network.quantizer.vq.layers)
    return [layer._codebook for layer in layers]


def _spec(name: str, digest: str, random_weights: bool = False) -> CodecSpec:
    sizes = (_SAMPLE_RATE, _HOP, _DIM, NUM_CODEBOOKS, _CODEBOOK_SIZE)
    return CodecSpec(name, digest, *sizes, random_weights)


def _untrained() -> EncodecModel:
    with warnings.catch_warnings():
        # The package uses torch's older weight_norm, whose parameter names the weights have.
        warnings.simplefilter("ignore", FutureWarning)
        return EncodecModel.encodec_model_24khz(pretrained=False)


def _published_file() -> Path:
    """The package's own weights in torch.hub's cache, downloaded once when they are not there."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / CHECKPOINT
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    url, prefix = ROOT_URL + CHECKPOINT, CHECKPOINT.removesuffix(".th").split("-")[1]
    try:
        with exclusive(path.with_suffix(".lock")):
            if not path.is_file():
                torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix, progress=False)
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"codec encodec_24khz: its weights are not on this machine and {url} cannot be had "
            f"({error}); pass --codec-weights FILE with {CHECKPOINT}, or run once with network "
            "access"
        ) from error
    return path


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"--codec-weights {path}: not a plain state dict ({first}); expected {CHECKPOINT} or "
            "its tensors as .safetensors"
        ) from error
    if not isinstance(state, dict):
        raise UserError(f"--codec-weights {path}: holds a {type(state).__name__}, not a state dict")
    return cast("dict[str, Tensor]", state)


def _load_state(network: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    wanted = network.state_dict()
    faults = [f"lacks {key}" for key in wanted if key not in state]
    faults += [f"has an unexpected {key}" for key in state if key not in wanted]
    faults += [
        f"has {key} of shape {tuple(state[key].shape)}, not {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if key in state and state[key].shape != tensor.shape
    ]
    if faults:
        raise UserError(
            f"--codec-weights {path}: {faults[0]} ({len(faults)} faults); expected the layout of "
            f"{CHECKPOINT}"
        )
    network.load_state_dict(state)


@torch.no_grad()
def _enliven(network: EncodecModel) -> None:
    """Make the codes of a random network depend on its input."""
    for name, parameter in network.encoder.named_parameters():
        if name.endswith("weight_g"):
            parameter.mul_(_RANDOM_GAIN)
        elif "bias" in name:
            parameter.zero_()
    for book in _books(network):
        cast(Tensor, book.embed).normal_(std=_RANDOM_SPREAD)
        cast(Tensor, book.inited).fill_(1)


def _digest(network: nn.Module) -> str:
    """sha256 over the names and bytes of all tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
