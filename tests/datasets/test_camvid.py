"""CamVid in the layout of the SegNet tutorial, made and real."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from segmi.datasets import check_dataset, open_dataset
from segmi.errors import DataError


def native_of(sample) -> np.ndarray:
    return np.array(Image.open(sample.mask))


def test_camvid_lists_with_foreign_paths(make):
    root = make("camvid")
    dataset = open_dataset("camvid", root)
    samples = dataset.split("train")
    assert [(sample.name, sample.group) for sample in samples] == [
        ("0001TP_006690", "0001TP"),
        ("0006R0_f00930", "0006R0"),
    ]
    native, mask = native_of(samples[0]), dataset.read_mask(samples[0])
    np.testing.assert_array_equal(mask, np.where(native == 11, 255, native))
    (root / "CamVid" / "train.txt").unlink()
    assert open_dataset("camvid", root).split("train") == samples


def test_camvid_list_selects(make):
    root = make("camvid")
    path = root / "CamVid" / "val.txt"
    path.write_text(path.read_text().splitlines()[1])
    assert [sample.name for sample in open_dataset("camvid", root).split("val")] == ["0016E5_07961"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("train/0001TP_006690.png trainannot/0006R0_f00930.png", r"train.txt: line 1: expected an image and the mask"),
        ("../../secret.png ../secret.png", r"train.txt: line 1: expected a name inside the dataset"),
        ("train/none.png trainannot/none.png", r"none: listed, but neither in .*train nor in .*trainannot"),
    ],
)
def test_camvid_bad_lists(line, text, make):
    root = make("camvid")
    (root / "CamVid" / "train.txt").write_text(line)
    with pytest.raises(DataError, match=text):
        open_dataset("camvid", root).split("train")


def test_real_camvid(real_data):
    dataset = open_dataset("camvid", real_data)
    train, val = dataset.split("train"), dataset.split("val")
    assert (len(train), len(val)) == (367, 101)
    groups = [sample.group for sample in train]
    assert {group: groups.count(group) for group in set(groups)} == {"0016E5": 204, "0001TP": 62, "0006R0": 101}
    assert {sample.group for sample in val} == {"0016E5"}
    image, mask = dataset.read(train[0])
    assert image.shape == (240, 320, 3)
    assert set(np.unique(mask)) <= {*range(11), 255}
    # The upper rows of a street scene are sky, trees and buildings, the lower ones road.
    assert dataset.info.classes[np.bincount(mask[200:].ravel()).argmax()] == "road"


def test_real_camvid_is_clean(real_data):
    report = check_dataset(open_dataset("camvid", real_data))
    assert report.problems == ()
    assert any("share the group 0016E5 (204 and 101 images)" in note for note in report.notes)
    assert all(pixels > 0 for split in report.splits for pixels in split.class_pixels)
