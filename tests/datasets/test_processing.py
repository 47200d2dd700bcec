from __future__ import annotations

import numpy as np
import pytest
import torch

from segmi.datasets.processing import Processing
from segmi.errors import UsageError


def image(height: int = 60, width: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """An pixels whose red channel is twice its mask, so that any misalignment shows."""
    rows, columns = np.mgrid[:height, :width]
    mask = ((rows // 15) * 6 + columns // 15).astype(np.uint8)
    pixels = np.stack([mask * 2, mask, mask], axis=-1).astype(np.uint8)
    return pixels, mask


def test_exact_makes_a_square_and_shorter_keeps_the_aspect_ratio():
    assert Processing(resize=30, crop=20).resized(*image()).image.shape == (3, 30, 30)
    pair = Processing(resize=30, crop=20, resize_mode="shorter").resized(*image())
    assert pair.image.shape == (3, 30, 40)
    assert pair.mask.shape == (30, 40)
    assert Processing(resize=None, crop=20).resized(*image()).image.shape == (3, 60, 80)


def test_masks_are_resized_with_the_nearest_neighbor():
    _, mask = image()
    pair = Processing(resize=47, crop=20).resized(*image())
    assert pair.mask.dtype == torch.uint8
    assert set(pair.mask.unique().tolist()) <= set(np.unique(mask).tolist())


def test_image_and_mask_are_transformed_alike():
    processing = Processing(resize=None, crop=32, flip=0.5)
    for seed in range(10):
        pair = processing.augmented(processing.resized(*image()), seed)
        assert torch.equal(pair.image[0], pair.mask * 2)


@pytest.mark.parametrize("options", [{"scale": (0.5, 0.6)}, {}])
def test_padding_is_ignored(options):
    processing = Processing(resize=None, crop=100, **options)
    pair = processing.augmented(processing.resized(*image()), 0)
    assert pair.mask.shape == (100, 100)
    added = pair.mask == 255
    assert added.any()
    assert (pair.image[:, added] == 0).all()


def test_augmentation_is_a_function_of_the_seed_and_keeps_the_generator():
    processing = Processing(resize=None, crop=32, flip=0.5, scale=(0.5, 2.0), color=0.4)
    pair = processing.resized(*image())
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, again, other = (processing.augmented(pair, seed) for seed in (7, 7, 8))
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.image, other.image)
    assert torch.rand(1) == expected


def test_mild_colors_keep_the_hue():
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[..., 0] = 160  # pure red
    mask = np.zeros((32, 32), np.uint8)
    for color, turned in ((0.25, False), (0.4, True)):
        processing = Processing(resize=None, crop=32, color=color)
        images = [processing.augmented(processing.resized(pixels, mask), seed).image for seed in range(8)]
        assert len({int(image[0, 0, 0]) for image in images}) > 4
        # A changed hue makes green and blue differ.
        assert any(abs(int(image[1, 0, 0]) - int(image[2, 0, 0])) > 1 for image in images) is turned


def test_defaults_equal_the_study():
    assert Processing() == Processing(resize=234, resize_mode="exact", crop=224, flip=0, scale=(1, 1), color=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resize": 100, "crop": 200}, r"crop \(200\) is larger than processing.resize \(100\)"),
        ({"crop": 0}, "crop must be a positive"),
        ({"flip": 2}, "flip must be a probability"),
        ({"scale": (2.0, 1.0)}, "scale must be a range"),
        ({"color": -1}, "color must be a strength"),
    ],
)
def test_invalid_settings(options, message):
    with pytest.raises(UsageError, match=message):
        Processing(**options)
