"""The palettes at entries that are published, and colors as ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segmi.datasets.palette import (
    ADE20K_PALETTE,
    CAMVID_PALETTE,
    CITYSCAPES_PALETTE,
    VOC_PALETTE,
    full_palette,
    values_of_colors,
)
from segmi.errors import DataError

HERE = Path("masks/0001.png")


def test_voc_palette_at_its_published_entries():
    # background … tvmonitor, then the rim
    published = {0: (0, 0, 0), 1: (128, 0, 0), 5: (128, 0, 128), 8: (64, 0, 0), 12: (64, 0, 128), 20: (0, 64, 128)}
    for index, color in (published | {255: (224, 224, 192)}).items():
        assert VOC_PALETTE[index] == color
    assert len(set(VOC_PALETTE)) == 256


@pytest.mark.parametrize(
    ("palette", "classes", "shared"),
    [(CITYSCAPES_PALETTE, 19, 0), (CAMVID_PALETTE, 11, 0), (ADE20K_PALETTE, 150, 1), (VOC_PALETTE, 21, 0)],
)
def test_class_colors_are_distinct(palette, classes, shared):
    assert len(palette) == 256
    # ADE20K gives road and skyscraper, two of its classes, the same gray.
    assert len({*palette[:classes], palette[255]}) == classes + 1 - shared


def test_full_palette_keeps_the_order():
    palette = full_palette([(1, 1, 1), (2, 2, 2)], ignored=(3, 3, 3))
    assert palette[:3] == ((1, 1, 1), (2, 2, 2), VOC_PALETTE[2])
    assert palette[255] == (3, 3, 3)


def test_values_of_colors_equal_a_loop():
    generator = np.random.default_rng(0)
    colors = [tuple(map(int, color)) for color in generator.integers(0, 256, (9, 3))] + [(0, 0, 0), (255, 255, 255)]
    ids = [int(value) for value in generator.permutation(256)[: len(colors)]]
    choice = generator.integers(0, len(colors), (7, 5))
    pixels = np.array(colors, dtype=np.uint8)[choice]
    values = values_of_colors(pixels, colors, ids, HERE)
    assert values.dtype == np.uint8
    for row in range(7):
        for column in range(5):
            assert values[row, column] == ids[choice[row, column]]


def test_unknown_colors_are_named_most_frequent_first():
    pixels = np.zeros((4, 5, 3), dtype=np.uint8)
    pixels[0, :3] = (1, 2, 3)
    pixels[1, 0] = (255, 254, 253)
    with pytest.raises(DataError) as caught:
        values_of_colors(pixels, [(0, 0, 0)], [0], HERE)
    text = str(caught.value)
    assert "0001.png" in text
    assert "got also 1 2 3, 255 254 253 (20.0% of the pixels)" in text
    assert "add the color to classes.txt" in text


def test_blurred_edges_are_detected():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    with pytest.raises(DataError, match=r"colors in all\)(.|\n)*without smoothing, scaling or JPEG"):
        values_of_colors(pixels, [(0, 0, 0), (0, 0, 1)], [0, 1], HERE)
