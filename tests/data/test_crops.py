"""The crops of a whole batch are those that torchvision's transforms make one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segmi.data.crops import take, windows
from segmi.data.processing import Processing

SIZES = [(40, 56), (56, 40), (24, 24), (20, 60), (9, 11), (24, 30)]


def pictures(sizes=SIZES):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in sizes]
    return images, [rng.integers(0, 5, size, dtype=np.uint8) for size in sizes]


@pytest.mark.parametrize(
    "options",
    [{}, {"flip": 0.5}, {"flip": 1.0}, {"scale": (0.5, 2.0)}, {"scale": (0.3, 0.7), "flip": 0.5}],
    ids=str,
)
@pytest.mark.parametrize("resize", [None, 24, 30])
def test_the_same_pixels_as_one_by_one(options, resize):
    processing = Processing(resize=resize, crop=24, **options)
    pairs = [processing.resized(*both) for both in zip(*pictures(), strict=True)]
    images, masks = [pair.image.numpy() for pair in pairs], [pair.mask.numpy() for pair in pairs]
    seen = set()
    for first in range(0, 60, len(pairs)):
        seeds = [first + number + 2**40 for number in range(len(pairs))]
        drawn = windows(processing, [mask.shape for mask in masks], seeds)
        crops, labels = take(images, masks, drawn, 24)
        seen.update(drawn)
        for number, (pair, seed) in enumerate(zip(pairs, seeds, strict=True)):
            expected = processing.augmented(pair, seed)
            assert torch.equal(crops[number], expected.image)
            assert torch.equal(labels[number], expected.mask)
    assert len(seen) > 1 or resize == 24


def test_the_generator_of_everyone_else_is_left_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    windows(Processing(resize=None, crop=4, flip=0.5), [(9, 9)], [7])
    assert torch.rand(1) == expected
