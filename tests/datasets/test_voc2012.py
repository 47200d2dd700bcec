"""PASCAL VOC 2012: palette masks by the lists of the splits."""

from __future__ import annotations

import numpy as np
from PIL import Image

from segmi.datasets import open_dataset


def native_of(sample) -> np.ndarray:
    return np.array(Image.open(sample.mask))


def test_voc_palette_masks_are_read_as_indices(make):
    dataset = open_dataset("voc2012", make("voc2012"))
    assert dataset.splits == ("train", "val")
    samples = dataset.split("val")
    assert [sample.name for sample in samples] == ["2007_000033", "2007_000042", "2007_000061"]
    np.testing.assert_array_equal(dataset.read_mask(samples[0]), native_of(samples[0]))
    assert Image.open(samples[0].mask).mode == "P"
    assert len(dataset.info.classes) == 21
    assert dataset.info.palette[15] == (192, 128, 128)
    assert samples[0].group == samples[0].name
