"""``segmi.toml``: its content is read back exactly, and all invalid entries are refused together."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from PIL import Image

from segmi.datasets import open_dataset
from segmi.datasets.custom import FILE_NAME, CustomConfig, LabelClass, SplitFolders, format_config, read_config
from segmi.datasets.custom.dataset_config import Affixes
from segmi.errors import DataError

FILE = """
format = 1
title = "Cells"
masks = "index"
ignored = [255]
ignored_color = [9, 9, 9]
classes = [
  { name = "other", value = [0, 2], color = [0, 0, 0] },
  { name = "cell", value = 7, color = [250, 10, 10] },
]

[splits.train]
images = "images"
masks = "masks"

[names]
group = "^(p[0-9]+)_"

[draw]
val = 0.5
seed = 3
"""


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for patient in range(4):
        for number in range(2):
            stem = f"p{patient}_{number}"
            Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).save(tmp_path / "images" / f"{stem}.jpg")
            Image.fromarray(rng.choice([0, 2, 7, 255], (6, 8)).astype(np.uint8)).save(
                tmp_path / "masks" / f"{stem}.png"
            )
    (tmp_path / FILE_NAME).write_text(FILE)
    return tmp_path


def read_all(dataset):
    return [dataset.read_mask(sample) for sample in dataset.split("train")]


def changed(root, old, new):
    text = (root / FILE_NAME).read_text()
    assert old in text
    (root / FILE_NAME).write_text(text.replace(old, new))


def test_values_are_merged_and_ignored_values_masked(root):
    dataset = open_dataset("custom", root)
    assert (dataset.info.title, dataset.info.classes, dataset.info.ignored) == ("Cells", ("other", "cell"), 255)
    sample = dataset.split("train")[0]
    stored = np.asarray(Image.open(sample.mask))
    expected = np.select([stored == 7, stored == 255], [1, 255], 0)
    np.testing.assert_array_equal(dataset.read_mask(sample), expected)


def test_whole_groups_are_drawn_by_the_seed(root):
    dataset = open_dataset("custom", root)
    groups = {split: {sample.group for sample in dataset.split(split)} for split in ("train", "val")}
    assert {len(names) for names in groups.values()} == {2}
    assert not groups["train"] & groups["val"]
    assert groups == {split: {sample.group for sample in open_dataset("custom", root).split(split)} for split in groups}


def test_pickling(root):
    dataset = pickle.loads(pickle.dumps(open_dataset("custom", root)))
    assert len(dataset.split("val")) == 4


def test_the_decoding_key_changes_with_the_pixels(root):
    before = open_dataset("custom", root).decoding_key()
    changed(root, "seed = 3", "seed = 4")
    assert open_dataset("custom", root).decoding_key() == before
    changed(root, "value = [0, 2]", "value = [0]")
    changed(root, "ignored = [255]", "ignored = [2, 255]")
    assert open_dataset("custom", root).decoding_key() != before


def test_unknown_values_name_the_file_to_change(root):
    changed(root, "value = [0, 2]", "value = 0")
    dataset = open_dataset("custom", root)
    with pytest.raises(DataError, match=r"got also 2 .*\n.*add the values to the classes or to ignored in segmi.toml"):
        read_all(dataset)


def test_unknown_colors_name_the_file_to_change(root):
    for old, new in (
        ('masks = "index"', 'masks = "color"'),
        ("ignored = [255]", "ignored = [[255, 255, 255]]"),
        ("value = [0, 2]", "value = [[0, 0, 0], [2, 2, 2]]"),
        ("value = 7", "value = [7, 7, 8]"),
    ):
        changed(root, old, new)
    dataset = open_dataset("custom", root)
    with pytest.raises(
        DataError, match=r"got also 7 7 7(.|\n)*add the color to the classes or to ignored in .*segmi.toml"
    ):
        read_all(dataset)
    changed(root, "value = [7, 7, 8]", "value = [7, 7, 7]")
    np.testing.assert_array_equal(
        np.unique(open_dataset("custom", root).read_mask(dataset.split("train")[0])), [0, 1, 255]
    )


@pytest.mark.parametrize("title", ['Quotes "and" \\ backslashes', "Zellen 🦠 über", "tab\tnew\nline", "\x7f"])
def test_round_trip(tmp_path, title):
    description = CustomConfig(
        title,
        "color",
        (LabelClass("a b", ((0, 0, 0), (1, 1, 1)), (9, 8, 7)), LabelClass('"', ((5, 5, 5),), (1, 2, 3))),
        {"train": SplitFolders("x", "y", "train.txt"), "test": SplitFolders("z", "z")},
        ignored=((4, 4, 4),),
        ignored_color=(255, 0, 255),
        affixes=Affixes("", "_img", "m_", ""),
        group=r"^(\d+)[\"'\\]",
        val=0.25,
        seed=7,
    )
    (tmp_path / FILE_NAME).write_text(format_config(description, "how it came\nabout"), encoding="utf-8")
    read = read_config(tmp_path / FILE_NAME)
    assert read == description
    assert read.parts == description.parts


@pytest.mark.parametrize(
    ("old", "new", "messages"),
    [
        ("format = 1", "format = 2", ["format: expected 1; does a newer segmi write it?, got 2"]),
        ('masks = "index"', 'masks = "rgb"', ["masks: expected index, color, panoptic, got 'rgb'"]),
        ("ignored = [255]", "ignored = [300]", ["ignored: expected integers from 0 to 255, got 300"]),
        ("ignored = [255]", "ignored = [7]", ["expected every value in one class or in ignored, got in several: 7"]),
        ("value = 7", 'value = "7"', ["classes[1].value: expected integers from 0 to 255, got '7'"]),
        ('name = "cell"', 'name = "other"', ["expected distinct class names, got twice: other"]),
        ("[splits.train]", "[splits.trian]", ["splits.trian: no such key; did you mean train?"]),
        ('images = "images"\n', "", ["splits.train: expected images and masks, got no images"]),
        ('images = "images"', 'images = "../x"', ["splits.train.images: expected a path inside the folder"]),
        ('images = "images"', 'images = "/x"', ["splits.train.images: expected a path inside the folder"]),
        ('"^(p[0-9]+)_"', '"("', ["group: expected a regular expression, got '('"]),
        ("val = 0.5", "val = 1.5", ["val + test < 1"]),
        ("val = 0.5", 'val = "x"', ["draw.val: expected a number, got 'x'"]),
        ("seed = 3", "seed = 3.5", ["draw.seed: expected an integer, got 3.5"]),
        ("color = [0, 0, 0]", "color = [0, 0]", ["classes[0].color: expected a color [r, g, b]"]),
        ("title", "tilte", ["tilte: no such key; did you mean title?"]),
        ("[draw]", "[draw", ["expected a TOML file"]),
        ('{ name = "cell", value = 7, color = [250, 10, 10] },', "", ["expected 2 to 255 classes, got 1"]),
    ],
)
def test_invalid_input(root, old, new, messages):
    changed(root, old, new)
    with pytest.raises(DataError) as caught:
        open_dataset("custom", root)
    for message in messages:
        assert message in str(caught.value)
    assert FILE_NAME in str(caught.value)
    assert caught.value.remedy


def test_all_problems_are_listed(root):
    changed(root, "ignored = [255]", "ignored = [300]")
    changed(root, "seed = 3", "seed = 3.5")
    with pytest.raises(DataError, match=r"draw.seed: expected(.|\n)*ignored: expected"):
        open_dataset("custom", root)


def test_a_missing_file_names_the_command(tmp_path):
    with pytest.raises(DataError, match=r"expected a description of the folder, got no file(.|\n)*segmi data init"):
        open_dataset("custom", tmp_path)


def test_one_group_cannot_be_split(root):
    changed(root, "^(p[0-9]+)_", "^(p)")
    with pytest.raises(DataError, match="expected at least 2 groups to draw val from, got 1"):
        open_dataset("custom", root).split("val")
