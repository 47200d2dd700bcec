import numpy as np
import pytest

from segmi.datasets.scenes import ObjectScenes
from segmi.datasets.scenes.object_scenes import CLASSES, with_ignored_rim
from segmi.types import IGNORE_INDEX


@pytest.fixture(scope="module")
def dataset():
    return ObjectScenes(train=300, height=60, width=80)


def test_every_class_is_frequent(dataset, class_shares):
    pixels, images = class_shares(dataset, "train")
    counted = pixels[:IGNORE_INDEX].sum()
    assert 0.64 < pixels[0] / counted < 0.76
    assert images[0] == 1
    for label, name in enumerate(dataset.info.classes[1:], start=1):
        assert images[label] > 0.05, f"{name} is in only {images[label]:.0%} of the images"
        assert 0.004 < pixels[label] / counted < 0.04, f"{name} fills {pixels[label]:.2%} of the pixels"
    assert 0.01 < pixels[IGNORE_INDEX] < 0.12


def test_an_image_has_one_to_four_classes(dataset):
    numbers = [len(set(np.unique(dataset.read_mask(s))) - {0, IGNORE_INDEX}) for s in dataset.split("train")[:80]]
    assert set(numbers) == {1, 2, 3, 4}


def test_ignored_rim_separates_objects_and_background(dataset):
    """No object pixel touches the background: ignored pixels are between them."""
    for sample in dataset.split("train")[:20]:
        mask = dataset.read_mask(sample)
        assert (mask == IGNORE_INDEX).any()
        for axis in (0, 1):
            first, second = np.moveaxis(mask, axis, 0)[:-1], np.moveaxis(mask, axis, 0)[1:]
            touching = (first != second) & (first != IGNORE_INDEX) & (second != IGNORE_INDEX)
            assert not touching.any()


def test_ignored_rim_equals_brute_force():
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 50), dtype=np.uint8)
    for label in (3, 7, 7):
        top, left = rng.integers(0, 28, 2)
        mask[top : top + 12, left : left + 14] = label
    expected = mask.copy()
    for y, x in np.ndindex(mask.shape):
        around = mask[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        if mask[y, x] == 0 and around.any():
            expected[y, x] = IGNORE_INDEX
        if mask[y, x] and set(np.unique(around)) - {0, mask[y, x]}:
            expected[y, x] = IGNORE_INDEX
    np.testing.assert_array_equal(with_ignored_rim(mask), expected)


def test_no_ignored_rim_without_objects():
    assert not with_ignored_rim(np.zeros((30, 30), dtype=np.uint8)).any()


def test_every_class_has_a_drawing(dataset):
    assert list(CLASSES) == list(dataset.info.classes[1:])


def test_defaults():
    dataset = ObjectScenes()
    assert (dataset.height, dataset.width) == (240, 320)
    assert len(dataset.info.classes) == 21
    assert all(sample.group == sample.name for sample in dataset.split("val"))
