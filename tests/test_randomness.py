"""Whose numbers a draw gives: an item's own, whatever stands beside or around it."""

from __future__ import annotations

import pytest
import torch

from resyn.randomness import FrameRandom, PaddedRandom, SampleRandom


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_padding_changes_no_items_numbers(kind):
    padded = PaddedRandom([4, 5, 6], [7, 20, 1])
    draws = [getattr(padded, kind)(20, 5) for _ in range(3)]
    for item, (seed, length) in enumerate([(4, 7), (5, 20), (6, 1)]):
        alone = SampleRandom([seed])
        for draw in draws:
            assert torch.equal(draw[item, :length], getattr(alone, kind)(length, 5)[0])
            assert not draw[item, length:].any()


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_stretches_of_frames_agree_where_they_overlap(kind):
    whole, later = FrameRandom(9, 0), FrameRandom(9, 100)
    pairs = [(getattr(whole, kind)(300, 5), getattr(later, kind)(150, 5)) for _ in range(3)]
    for first, second in pairs:
        assert first.shape == (1, 300, 5)
        assert torch.equal(first[:, 100:250], second)
    assert not torch.equal(pairs[0][0], pairs[1][0])
    other = getattr(FrameRandom(10, 0), kind)(300, 5)
    assert not torch.equal(pairs[0][0], other)


def test_numbers_of_frames_are_standard_normal_and_unrelated():
    draws = torch.cat([FrameRandom(1, 0).normal(50_000, 2), FrameRandom(2, 0).normal(50_000, 2)])
    flat = draws.double().flatten()
    assert abs(float(flat.mean())) < 4 / len(flat) ** 0.5
    assert abs(float(flat.var()) - 1) < 4 * (2 / len(flat)) ** 0.5
    neighbours = draws[:, :-64] * draws[:, 64:]
    assert abs(float(neighbours.double().mean())) < 4 / neighbours.numel() ** 0.5
