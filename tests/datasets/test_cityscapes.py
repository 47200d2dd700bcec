"""Cityscapes: label ids by the published table, and nothing of the files beside them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from segmi.datasets import open_dataset
from segmi.errors import DataError


def native_of(sample) -> np.ndarray:
    return np.array(Image.open(sample.mask))


def test_cityscapes_label_ids_become_train_ids(make):
    dataset = open_dataset("cityscapes", make("cityscapes"))
    assert dataset.splits == ("train", "val", "test")
    samples = dataset.split("train")
    assert [sample.group for sample in samples] == ["aachen", "aachen", "bremen", "bremen"]
    assert samples[0].name == "aachen_000000_000019"
    assert dataset.info.classes[13] == "car"
    assert len(dataset.info.classes) == 19
    assert dataset.info.palette[13] == (0, 0, 142)
    native, mask = native_of(samples[0]), dataset.read_mask(samples[0])
    expected = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13}
    expected |= {27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
    for value in range(34):
        assert set(mask[native == value]) == {expected.get(value, 255)}


def test_cityscapes_ignores_other_files(make):
    root = make("cityscapes")
    dataset = open_dataset("cityscapes", root)
    before = [dataset.read_mask(sample).tobytes() for sample in dataset.split("val")]
    for file in root.rglob("*_gtFine_*"):
        if not file.name.endswith("_labelIds.png"):
            file.write_bytes(b"damaged")
    assert [dataset.read_mask(sample).tobytes() for sample in dataset.split("val")] == before


def test_cityscapes_train_ids_are_not_read_as_label_ids(make):
    root = make("cityscapes")
    gone = root / "gtFine/train/aachen/aachen_000001_000019_gtFine_labelIds.png"
    gone.unlink()
    with pytest.raises(DataError) as caught:
        open_dataset("cityscapes", root).split("train")
    assert "aachen_000001_000019_leftImg8bit.png: image without mask" in str(caught.value)
    assert str(gone) in str(caught.value)
