"""EnCodec's encoder piece by piece, in memory that does not grow with the length of the audio.

The 24 kHz network is causal: a convolution looks back over the last samples of its input, and the
LSTM carries a state. Both are handed from chunk to chunk, so that the chunks give what the whole
gives; the reflection with which the network starts happens at the very start alone.
"""

from __future__ import annotations

from typing import cast

import torch
from encodec.modules.conv import SConv1d, pad1d
from encodec.modules.lstm import SLSTM
from encodec.modules.seanet import SEANetEncoder, SEANetResnetBlock
from torch import Tensor, nn

from resyn.codec.arithmetic import CompiledSection, Section

#: Frames per chunk: where encoding is fastest on a CPU (tests/bench/encode_chunks.py). Results
#: depend on it in their last bits only.
CHUNK_FRAMES = 150


class EncoderSections:
    """The encoder in three pieces: convolutions, the LSTM, and the last convolution.

    The LSTM stays out of compiled graphs, where cuDNN's own is the faster, and out of lower
    precision, whose error its state would carry along.
    """

    def __init__(self, encoder: SEANetEncoder, compiled: bool = False) -> None:
        layers = list(encoder.model)
        (at,) = (index for index, layer in enumerate(layers) if isinstance(layer, SLSTM))
        self.recurrence = cast(SLSTM, layers[at])
        parts = [_Convolutions(nn.Sequential(*part)) for part in (layers[:at], layers[at + 1 :])]
        self.first: Section
        self.last: Section
        if compiled:
            device = next(encoder.parameters()).device
            self.first, self.last = (CompiledSection(part, device) for part in parts)
        else:
            self.first, self.last = parts


class EncoderStream:
    """One pass of an encoder over a batch of signals, in consecutive chunks."""

    def __init__(self, encoder: SEANetEncoder | EncoderSections) -> None:
        whole = isinstance(encoder, SEANetEncoder)
        self._sections = EncoderSections(encoder) if whole else encoder
        self._first: list[Tensor] | None = None
        self._last: list[Tensor] | None = None
        self._state: tuple[Tensor, Tensor] | None = None

    def __call__(self, chunk: Tensor) -> Tensor:
        """The next (B,1,S) of the signals, S a multiple of 320, to their latents (B,128,S/320).

        Every chunk has the same B. The first must hold at least 8 frames, unless it is the only
        one, because the network reflects its first frames.
        """
        x, self._first = self._sections.first(chunk, self._first)
        x = self._recur(self._sections.recurrence, x)
        x, self._last = self._sections.last(x, self._last)
        return x

    def _recur(self, module: SLSTM, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            steps = x.float().permute(2, 0, 1)
            y, self._state = module.lstm(steps, self._state)
            return (y + steps if module.skip else y).permute(1, 2, 0)


class _Convolutions(nn.Module):
    """Layers without recurrence, over one chunk. A function of its arguments, as graphs need."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor, contexts: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """The next chunk and what each convolution kept of the one before, in order."""
        kept: list[Tensor] = []
        return self._run(self.layers, x, contexts, kept), kept

    def _run(
        self, module: nn.Module, x: Tensor, contexts: list[Tensor] | None, kept: list[Tensor]
    ) -> Tensor:
        if isinstance(module, nn.Sequential):
            for child in module:
                x = self._run(child, x, contexts, kept)
            return x
        if isinstance(module, SEANetResnetBlock):
            shortcut = self._run(module.shortcut, x, contexts, kept)
            return shortcut + self._run(module.block, x, contexts, kept)
        if isinstance(module, SConv1d):
            return self._convolve(module, x, contexts, kept)
        return module(x)

    def _convolve(
        self, module: SConv1d, x: Tensor, contexts: list[Tensor] | None, kept: list[Tensor]
    ) -> Tensor:
        """A kernel's window reaches back `width` inputs before the chunk's first stride."""
        kernel = cast(nn.Conv1d, module.conv.conv)
        width = (kernel.kernel_size[0] - 1) * kernel.dilation[0] - (kernel.stride[0] - 1)
        if width:
            if contexts is None:
                x = pad1d(x, (width, 0), mode=module.pad_mode)
            else:
                x = torch.cat([contexts[len(kept)], x], dim=-1)
            # A copy: a view would keep the whole chunk.
            kept.append(x[..., -width:].clone())
        return module.conv(x)
