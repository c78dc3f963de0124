"""The codec that is none."""

from __future__ import annotations

import pytest
import torch

from resyn.codec import load_codec
from resyn.errors import UserError


def test_frames_without_content() -> None:
    codec = load_codec("waveform_24khz")
    frames = codec.encode(torch.zeros(2, 1, 960))
    assert frames.z.shape == (2, 3, 0)
    assert frames.codes.shape == (2, 0, 3)
    assert codec.codebooks.shape == (0, 0, 0)
    assert codec.spec.bandwidth_kbps == 0.0


def test_what_it_cannot_do_it_says() -> None:
    with pytest.raises(UserError, match="no decoder"):
        load_codec("waveform_24khz").decode(torch.zeros(1, 3, 0))
    with pytest.raises(UserError, match="drop the flag"):
        load_codec("waveform_24khz", "x.th")
    with pytest.raises(UserError, match="unknown codec"):
        load_codec("opus")
