"""ADE20K: 0 is ignored, classes start at 1, names come from the table if it exists."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from segmi.datasets import open_dataset
from segmi.errors import DataError


def native_of(sample) -> np.ndarray:
    return np.array(Image.open(sample.mask))


def test_ade_zero_is_ignored_and_classes_start_at_one(make):
    dataset = open_dataset("ade20k", make("ade20k"))
    sample = dataset.split("train")[0]
    native, mask = native_of(sample), dataset.read_mask(sample)
    np.testing.assert_array_equal(mask, np.where(native == 0, 255, native.astype(int) - 1))
    assert len(dataset.info.classes) == 150
    assert (dataset.info.classes[0], dataset.info.classes[149]) == ("wall", "flag")
    assert dataset.info.palette[2] == (6, 230, 230)


def test_ade_names_come_from_the_table_if_it_exists(make):
    root = make("ade20k")
    table = root / "ADEChallengeData2016" / "objectInfo150.txt"
    rows = [f"{index}\t0.1\t10\t1\t1\tthing {index}, other name" for index in range(1, 151)]
    table.write_text("Idx\tRatio\tTrain\tVal\tStuff\tName\n" + "\n".join(rows))
    assert open_dataset("ade20k", root).info.classes[::149] == ("thing 1", "thing 150")
    table.write_text("\n".join(rows[:20]))
    with pytest.raises(
        DataError, match=r"objectInfo150.txt: expected the ids 1 to 150 .* got 20(.|\n)*restore the file"
    ):
        open_dataset("ade20k", root)
