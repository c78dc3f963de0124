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

#: Frames per chunk: where encoding is fastest on a CPU (tests/bench/encode_chunks.py). Results
#: depend on it in their last bits only.
CHUNK_FRAMES = 150


class EncoderStream:
    """One pass of `encoder` over a batch of signals, in consecutive chunks."""

    def __init__(self, encoder: SEANetEncoder) -> None:
        self._encoder = encoder
        self._contexts: dict[nn.Module, Tensor] = {}
        self._states: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def __call__(self, chunk: Tensor) -> Tensor:
        """The next (B,1,S) of the signals, S a multiple of 320, to their latents (B,128,S/320).

        Every chunk has the same B. The first must hold at least 8 frames, unless it is the only
        one, because the network reflects its first frames.
        """
        return self._run(self._encoder.model, chunk)

    def _run(self, module: nn.Module, x: Tensor) -> Tensor:
        if isinstance(module, nn.Sequential):
            for child in module:
                x = self._run(child, x)
            return x
        if isinstance(module, SEANetResnetBlock):
            return self._run(module.shortcut, x) + self._run(module.block, x)
        if isinstance(module, SConv1d):
            return self._convolve(module, x)
        if isinstance(module, SLSTM):
            return self._recur(module, x)
        return module(x)

    def _convolve(self, module: SConv1d, x: Tensor) -> Tensor:
        """A kernel's window reaches back `width` inputs before the chunk's first stride."""
        kernel = cast(nn.Conv1d, module.conv.conv)
        width = (kernel.kernel_size[0] - 1) * kernel.dilation[0] - (kernel.stride[0] - 1)
        if width:
            context = self._contexts.get(module)
            if context is None:
                x = pad1d(x, (width, 0), mode=module.pad_mode)
            else:
                x = torch.cat([context, x], dim=-1)
            # A copy: a view would keep the whole chunk.
            self._contexts[module] = x[..., -width:].clone()
        return module.conv(x)

    def _recur(self, module: SLSTM, x: Tensor) -> Tensor:
        steps = x.permute(2, 0, 1)
        y, self._states[module] = module.lstm(steps, self._states.get(module))
        return (y + steps if module.skip else y).permute(1, 2, 0)
