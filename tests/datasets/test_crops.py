"""The crops of a whole batch are those that torchvision cuts one by one, where the draw says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from segmi.datasets.crops import crop_batch, draw_window, overlap
from segmi.datasets.processing import Processing
from segmi.types import IGNORE_INDEX

SIZES = [(40, 56), (56, 40), (24, 24), (20, 60), (9, 11), (24, 30)]
FILL = {tv_tensors.Image: 0, tv_tensors.Mask: IGNORE_INDEX}


def images(sizes=SIZES):
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in sizes]
    return arrays, [rng.integers(0, 5, size, dtype=np.uint8) for size in sizes]


def cut(one, window, crop):
    """A crop by torchvision from an image padded so that every window is inside."""
    one = functional.resize(one, [window.height, window.width], antialias=True)
    one = functional.pad(one, [crop] * 4, fill=FILL[type(one)])
    one = functional.crop(one, window.top + crop, window.left + crop, crop, crop)
    return functional.horizontal_flip(one) if window.flipped else one


@pytest.mark.parametrize(
    "options",
    [{}, {"flip": 0.5}, {"flip": 1.0}, {"scale": (0.5, 2.0)}, {"scale": (0.3, 0.7), "flip": 0.5}],
    ids=str,
)
@pytest.mark.parametrize("resize", [None, 24, 30])
def test_batch_crops_equal_single_crops(options, resize):
    processing = Processing(resize=resize, crop=24, **options)
    pairs = [processing.resized(*both) for both in zip(*images(), strict=True)]
    arrays, masks = [pair.image.numpy() for pair in pairs], [pair.mask.numpy() for pair in pairs]
    seen = set()
    for first in range(0, 60, len(pairs)):
        drawn = [processing.window(mask.shape, first + number) for number, mask in enumerate(masks)]
        crops, labels = crop_batch(list(zip(arrays, masks, strict=True)), drawn, 24)
        seen.update(drawn)
        for number, (pair, window) in enumerate(zip(pairs, drawn, strict=True)):
            assert torch.equal(crops[number], cut(pair.image, window, 24))
            assert torch.equal(labels[number], cut(pair.mask, window, 24))
            again = processing.augmented(pair, first + number)
            assert torch.equal(again.image, crops[number])
            assert torch.equal(again.mask, labels[number])
    assert len(seen) > 1 or resize == 24


class TestWindow:
    def test_positions_are_uniform(self) -> None:
        drawn = [draw_window((10, 12), seed, crop=8, flip=0.25) for seed in range(18_000)]
        positions = np.zeros((3, 5), int)
        for window in drawn:
            positions[window.top, window.left] += 1
        expected = len(drawn) / positions.size
        assert ((positions - expected) ** 2 / expected).sum() < 36.1  # chi², 14 degrees of freedom: one in a thousand
        assert sum(window.flipped for window in drawn) / len(drawn) == pytest.approx(0.25, abs=0.011)
        mirrored = np.array([window.top for window in drawn if window.flipped])
        assert mirrored.mean() == pytest.approx(1, abs=0.04)  # mirroring is independent of the position

    def test_scale_is_uniform_and_keeps_the_aspect_ratio(self) -> None:
        drawn = [draw_window((1000, 500), seed, crop=8, scale=(0.5, 2.0)) for seed in range(3_000)]
        heights = np.sort([window.height for window in drawn])
        assert all(abs(window.height - 2 * window.width) <= 1 for window in drawn)
        assert np.abs(heights - np.linspace(500, 2000, len(heights))).max() < 1500 * 0.036  # Kolmogorov–Smirnov, 0.001

    def test_a_short_side_is_padded_by_the_difference(self) -> None:
        tops = {draw_window((6, 9), seed, crop=8).top for seed in range(200)}
        assert tops == {-2, -1, 0}

    def test_overlap(self) -> None:
        window = draw_window((6, 9), 3, crop=8)._replace(top=-2, left=1)
        assert overlap(window, 8) == ((slice(2, 8), slice(0, 8)), (slice(0, 6), slice(1, 9)))
