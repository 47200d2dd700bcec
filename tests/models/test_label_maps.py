"""Tiles predict_labels one by one against all of them resized together."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from segmi.models import Tile, blended_tiles, predict_label_tiles, predict_labels
from segmi.models.label_maps import probabilities_of_tile

SIZES = [(40, 50), (61, 47), (130, 99), (21, 33), (40, 99), (1, 1)]


def tiles_of(logits):
    """The logits in tiles, through windows of a network that says what it sees."""
    return blended_tiles(lambda images: images, logits, window=16, overlap=5)


@pytest.mark.parametrize("channels", [1, 2, 7])
@pytest.mark.parametrize("size", SIZES)
def test_tiles_are_decided_as_the_whole(channels, size):
    logits = torch.randn(channels, 40, 50)
    assert torch.equal(predict_label_tiles(tiles_of(logits), (40, 50), size), predict_labels(logits[None], size)[0])


@pytest.mark.parametrize("channels", [1, 2, 7])
@pytest.mark.parametrize("size", SIZES)
def test_probabilities_are_those_of_the_whole(channels, size):
    logits = torch.randn(channels, 40, 50)
    found = torch.full((max(channels, 2), *size), torch.nan)
    for tile in tiles_of(logits):
        for rows, columns, piece in probabilities_of_tile(tile, (40, 50), size):
            found[:, rows, columns] = piece
    whole = F.interpolate(logits[None], size=size, mode="bilinear")[0]
    expected = whole.softmax(0) if channels > 1 else torch.cat((1 - whole.sigmoid(), whole.sigmoid()))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_every_pixel_is_decided_once():
    seen = torch.zeros(61, 47, dtype=torch.int64)
    for tile in tiles_of(torch.randn(2, 40, 50)):
        for rows, columns, _ in probabilities_of_tile(tile, (40, 50), (61, 47)):
            seen[rows, columns] += 1
    assert seen.unique().tolist() == [1]


def test_many_classes_need_a_wider_dtype():
    logits = torch.zeros(300, 4, 4)
    logits[299] = 1
    labels = predict_label_tiles([Tile(0, 0, logits)], (4, 4), (6, 6))
    assert labels.dtype == torch.int32
    assert labels.unique().tolist() == [299]
    assert predict_labels(logits[None], (6, 6)).unique().tolist() == [299]
