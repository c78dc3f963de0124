"""Training a frame-domain codec from spectral and waveform losses (`--method codec`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram

from resyn.codec.base import CodecSpec
from resyn.codec.demo import export_demo
from resyn.codec.frame_network import FrameCodecNetwork, FrameCodecShape
from resyn.methods.augmentation import perturb_voices
from resyn.methods.base import STRICT
from resyn.models.shape import TransformerShape
from resyn.randomness import SampleRandom
from resyn.types import AudioBatch, LatentBatch, LossOutput

#: (window in samples, mel bands): the scales of EnCodec's spectral loss, less the shortest.
MEL_SCALES = ((256, 32), (512, 64), (1024, 80), (2048, 100))

#: Added to mel magnitudes (at window 1024) before the logarithm; lies above the noise floor of
#: the recordings, whose every ripple would otherwise be worth as much as speech.
MEL_FLOOR = 0.05

#: Windows in samples of the complex spectral loss, which is what teaches phase.
COMPLEX_WINDOWS = (512, 1280)


@dataclass(frozen=True, config=STRICT)
class CodecAutoencoder:
    """Weights of the losses, and how often the decoder sees z and short prefixes of the levels."""

    name: ClassVar[str] = "codec"
    title: ClassVar[str] = "Codec"
    columns: ClassVar[frozenset[str]] = frozenset({"audio"})

    mel_weight: float = 1.0
    complex_weight: float = 2.0
    waveform_weight: float = 20.0
    commitment_weight: float = 0.25
    unquantised_share: float = 0.3
    """Share of items that are decoded from z itself."""
    prefix_share: float = 0.3
    """Share of items that are decoded from `min_levels` … K - 1 levels; the rest use all K."""
    min_levels: int = 2
    speed: float = 0.0
    """Training crops are played up to this share faster or slower."""
    tilt: float = 0.0
    """Training crops are tilted by up to this many dB per octave."""
    encoder_width: int = 192
    encoder_depth: int = 5
    decoder_width: int = 288
    decoder_depth: int = 6

    def frame_codec_shape(self) -> FrameCodecShape:
        """The network's geometry."""
        widths = ("encoder_width", "encoder_depth", "decoder_width", "decoder_depth")
        return FrameCodecShape(**{name: getattr(self, name) for name in widths})

    def build_network(self, spec: CodecSpec, shape: TransformerShape) -> nn.Module:
        """A fresh codec; the Transformer's `shape` is not used."""
        return FrameCodecNetwork(self.frame_codec_shape())

    def loss(
        self, net: nn.Module, batch: LatentBatch | AudioBatch, random: SampleRandom
    ) -> LossOutput:
        """Multi-scale mel, complex spectral, waveform and commitment losses of audio crops."""
        if not isinstance(batch, AudioBatch):
            raise TypeError(f"method codec trains on AudioBatch, got {type(batch).__name__}")
        levels = self._draw_levels(random)
        audio = batch.audio
        if net.training and (self.speed or self.tilt):
            audio = perturb_voices(audio, random, self.speed, self.tilt)
            hop = self.frame_codec_shape().hop
            audio = audio[..., : audio.shape[-1] // hop * hop]
        output = net(audio, levels)
        truth, made = audio[:, 0], output.audio[:, 0]
        parts = {
            "mel": mel_distance(truth, made),
            "complex": complex_distance(truth, made),
            "waveform": (truth - made).abs().mean(1),
            "commitment": output.commitment,
        }
        total = sum(
            (getattr(self, f"{name}_weight") * value for name, value in parts.items()),
            start=torch.zeros_like(output.commitment),
        )
        return LossOutput(total, {name: value.detach() for name, value in parts.items()})

    def reconstruct(self, net: nn.Module, audio: Tensor) -> Tensor:
        """Audio (B,1,S) through all levels and back, (B,1,S); S is a multiple of the hop."""
        levels = torch.full((len(audio),), self.frame_codec_shape().num_codebooks)
        return net(audio, levels.to(audio.device)).audio

    def _draw_levels(self, random: SampleRandom) -> Tensor:
        """Levels per item, (B,); 0 stands for z."""
        most = self.frame_codec_shape().num_codebooks
        share = random.uniform()
        prefix = self.min_levels + random.integers(most - self.min_levels)
        levels = torch.where(share < self.unquantised_share + self.prefix_share, prefix, most)
        return torch.where(share < self.unquantised_share, 0, levels)

    def report(self) -> Mapping[str, float]:
        """The network's geometry."""
        return {f"codec_{k}": float(v) for k, v in asdict(self.frame_codec_shape()).items()}

    def exports(self, weights: Mapping[str, Tensor]) -> Mapping[str, bytes]:
        """`codec.safetensors`, for `--codec demo_24khz --codec-weights`."""
        network = FrameCodecNetwork(self.frame_codec_shape())
        network.load_state_dict(dict(weights))
        return {"codec.safetensors": export_demo(network)}


@cache
def _mel(window: int, bands: int, device: torch.device) -> MelSpectrogram:
    mel = MelSpectrogram(24_000, window, hop_length=window // 4, n_mels=bands, power=1.0)
    return mel.to(device)


def mel_distance(truth: Tensor, made: Tensor) -> Tensor:
    """Mean over scales of the L1 distance of log-mel spectrograms: two (B,S) to (B,)."""
    total = torch.zeros(len(truth), device=truth.device)
    for window, bands in MEL_SCALES:
        mel = _mel(window, bands, truth.device)
        low = MEL_FLOOR * (window / 1024)
        logs = [(mel(x) + low).log() for x in (truth, made)]
        total = total + F.l1_loss(logs[1], logs[0], reduction="none").mean(dim=(1, 2))
    return total / len(MEL_SCALES)


def complex_distance(truth: Tensor, made: Tensor) -> Tensor:
    """L1 distance of magnitude-compressed complex spectra: two (B,S) to (B,)."""
    total = torch.zeros(len(truth), device=truth.device)
    for window in COMPLEX_WINDOWS:
        hann = torch.hann_window(window, device=truth.device)
        pair = [
            _compressed(torch.stft(x, window, window // 4, window=hann, return_complex=True))
            for x in (truth, made)
        ]
        total = total + (pair[0] - pair[1]).abs().mean(dim=(1, 2, 3))
    return total / len(COMPLEX_WINDOWS)


def _compressed(spectrum: Tensor, exponent: float = 0.5) -> Tensor:
    """Real and imaginary parts with magnitudes raised to `exponent`."""
    parts = torch.view_as_real(spectrum)
    squared = parts.square().sum(-1, keepdim=True)
    return parts * (squared + 1e-6).pow((exponent - 1) / 2)
