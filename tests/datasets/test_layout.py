"""Lists of splits: nothing outside the dataset, nothing twice."""

from __future__ import annotations

import pytest

from segmi.datasets import open_dataset
from segmi.errors import DataError


@pytest.mark.parametrize("line", ["../../../secret", "/etc/passwd", "sub/2007_000032", "..\\secret"])
def test_voc_lists_cannot_leave_the_dataset(line, make):
    root = make("voc2012")
    (root / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt").write_text(f"2007_000032\n{line}\n")
    with pytest.raises(
        DataError, match=r"train.txt: line 2: expected a name inside the dataset(.|\n)*names without folders"
    ):
        open_dataset("voc2012", root).split("train")


def test_voc_list_with_a_repeated_name(make):
    root = make("voc2012")
    (root / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt").write_text("2007_000032\n\n2007_000032\n")
    with pytest.raises(DataError, match=r"line 3: '2007_000032' is listed twice, first in line 1(.|\n)*remove one of"):
        open_dataset("voc2012", root).split("train")


def test_a_binary_list(make):
    root = make("voc2012")
    (root / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(DataError, match=r"train.txt: expected UTF-8 text(.|\n)*save it as UTF-8"):
        open_dataset("voc2012", root).split("train")
