"""Laws of cutting a long item into chunks and putting it together again."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from resyn.errors import UserError
from resyn.sampling.chunks import Chunking, decode_stream, fade_in, stitch

CHUNKINGS = [Chunking(1, 0), Chunking(10, 0), Chunking(10, 3), Chunking(16, 8), Chunking(100, 20)]
LENGTHS = [1, 2, 9, 10, 11, 12, 17, 25, 64, 99, 101, 163, 1000]


@pytest.mark.parametrize("chunking", CHUNKINGS, ids=str)
@pytest.mark.parametrize("frames", LENGTHS)
def test_spans_cover_everything_evenly_with_as_few_chunks_as_can_be(chunking, frames):
    spans = chunking.spans(frames)
    assert spans[0].start == 0
    assert spans[-1].stop == frames
    assert {len(span) for span in spans} == {len(spans[0])}
    assert len(spans[0]) <= chunking.chunk
    for earlier, later in pairwise(spans):
        assert later.start > earlier.start
        assert earlier.stop - later.start >= chunking.overlap
    reach_of_fewer = (len(spans) - 1) * chunking.chunk - (len(spans) - 2) * chunking.overlap
    assert len(spans) == 1 or reach_of_fewer < frames


@pytest.mark.parametrize("chunking", CHUNKINGS, ids=str)
@pytest.mark.parametrize("frames", LENGTHS)
def test_chunks_of_a_whole_make_the_whole_whatever_their_margins_hold(chunking, frames):
    whole = torch.randn(2, frames, 3, generator=torch.Generator().manual_seed(frames))
    spans = chunking.spans(frames)

    def cut(index: int) -> Tensor:
        chunk = whole[:, spans[index].start : spans[index].stop].clone()
        if index > 0:
            chunk[:, : chunking.margin] = 1e6
        if index < len(spans) - 1:
            chunk[:, chunk.shape[1] - chunking.margin :] = 1e6
        return chunk

    made = torch.cat(list(stitch(map(cut, range(len(spans))), spans)), dim=1)
    assert torch.allclose(made, whole, atol=1e-5)


def test_the_fade_is_a_line_between_flat_margins():
    assert fade_in(8)[:, 0].tolist() == [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]
    assert fade_in(2)[:, 0].tolist() == [0.25, 0.75]
    assert fade_in(0).shape == (0, 1)


@pytest.mark.parametrize("context", [0, 2, 5])
@pytest.mark.parametrize("lengths", [[7], [1, 1, 1, 1], [20, 3, 40, 1, 9], [4, 30]])
def test_decoding_stretches_is_decoding_the_whole_for_a_decoder_of_that_reach(context, lengths):
    hop = 4
    kernel = torch.randn(hop, 3, 2 * context + 1, generator=torch.Generator().manual_seed(1))
    latents = torch.randn(1, sum(lengths), 3, generator=torch.Generator().manual_seed(2))
    sizes = []

    def decode(given: Tensor) -> Tensor:
        sizes.append(given.shape[1])
        made = F.conv1d(given.transpose(1, 2), kernel, padding=context)
        return made.transpose(1, 2).reshape(len(given), 1, -1)

    stretches = decode_stream(iter(latents.split(lengths, dim=1)), decode, hop, context)
    made = torch.cat(list(stretches), dim=2)
    assert max(sizes) <= max(lengths) + 2 * context
    assert torch.allclose(made, decode(latents), atol=1e-5)


@pytest.mark.parametrize(("chunk", "overlap"), [(0, 0), (10, 6), (10, -1), (-4, -4)])
def test_impossible_chunks_are_refused(chunk, overlap):
    with pytest.raises(UserError, match="chunk"):
        Chunking(chunk, overlap)


def test_seconds_become_frames():
    assert Chunking.of_seconds(30, 2, 75) == Chunking(2250, 150)
    with pytest.raises(UserError, match="one frame"):
        Chunking.of_seconds(0.001, 0, 75)
