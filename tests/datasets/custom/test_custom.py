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


def test_a_threshold_reads_gray_levels_of_any_format(root):
    """JPEG, smoothed and 16-bit masks: two classes, 0 below the threshold and 255 from it on."""
    levels = np.array([[0, 99, 100, 255], [3, 180, 20, 250]], dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    for path in (root / "masks").iterdir():
        path.unlink()
        if path.stem.endswith("1"):
            Image.fromarray(levels.astype(np.uint16) * 257).save(path)
        else:
            Image.fromarray(levels).save(path.with_suffix(".jpg"), quality=100)
    for path in (root / "images").iterdir():
        Image.new("RGB", (32, 16), (1, 2, int(path.stem[1]))).save(path)
    changed(root, 'masks = "index"', 'masks = "index"\nthreshold = 100')
    changed(root, "ignored = [255]", "ignored = []")
    changed(root, "value = [0, 2]", "value = 0")
    changed(root, "value = 7", "value = 255")
    dataset = open_dataset("custom", root)
    samples = dataset.split("train")
    assert {sample.mask.suffix for sample in samples} == {".jpg", ".png"}
    for sample in samples:
        threshold = 100 if sample.mask.suffix == ".jpg" else 1  # 16-bit levels are all above 100 except 0
        np.testing.assert_array_equal(dataset.read_mask(sample), levels >= threshold)
    assert read_config(root / FILE_NAME).threshold == 100


def test_a_threshold_needs_the_values_0_and_255(root):
    changed(root, 'masks = "index"', 'masks = "index"\nthreshold = 100')
    with pytest.raises(DataError, match="threshold = 100: expected masks of the values 0 and 255"):
        open_dataset("custom", root)


def test_groups_from_a_file(root):
    changed(root, 'group = "^(p[0-9]+)_"', 'groups = "groups.csv"')
    (root / "groups.csv").write_text("image,group\np0_0.jpg,a b\np0_1.jpg, a b\np1_0,c\np1_1,c\np2_0,c\n")
    dataset = open_dataset("custom", root)
    groups = {sample.name: sample.group for split in dataset.splits for sample in dataset.split(split)}
    assert groups == {
        **{"p0_0": "a b", "p0_1": "a b", "p1_0": "c", "p1_1": "c", "p2_0": "c"},
        **{name: name for name in ("p2_1", "p3_0", "p3_1")},
    }
    assert len({sample.group for sample in dataset.split("train")} & {s.group for s in dataset.split("val")}) == 0


def test_the_last_images_of_each_group_are_drawn_in_the_order_of_their_numbers(root):
    for folder, suffix in (("images", "jpg"), ("masks", "png")):
        for number, path in enumerate(sorted((root / folder).iterdir())):
            path.rename(path.with_name(f"frame_{number + 5}.{suffix}"))
    changed(root, '[names]\ngroup = "^(p[0-9]+)_"', "")
    changed(root, "seed = 3", "seed = 3\ntest = 0.25\ncontiguous = true")
    dataset = open_dataset("custom", root)
    names = {split: [sample.name for sample in dataset.split(split)] for split in dataset.splits}
    assert names["test"] == ["frame_11", "frame_12"]
    assert sorted(names["val"]) == ["frame_10", "frame_7", "frame_8", "frame_9"]
    assert names["train"] == ["frame_5", "frame_6"]
    assert {sample.group for sample in dataset.split("train")} == {"video"}
    assert read_config(root / FILE_NAME).contiguous


def test_the_file_can_name_another_folder_with_the_data(root, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (root / FILE_NAME).rename(elsewhere / FILE_NAME)
    changed(elsewhere, 'title = "Cells"', 'title = "Cells"\nroot = ".."')
    dataset = open_dataset("custom", elsewhere)
    assert len(dataset.split("train")) == 4
    assert dataset.split("train")[0].image.is_file()
    changed(elsewhere, 'root = ".."', 'root = "/nowhere at all"')
    with pytest.raises(DataError, match="expected the data in root = /nowhere at all, got no folder"):
        open_dataset("custom", elsewhere)


def test_names_that_differ_inside(root):
    for folder, word, suffix in (("images", "camera", "jpg"), ("masks", "label", "png")):
        for path in (root / folder).iterdir():
            path.rename(path.with_name(f"{path.stem[:2]}_{word}_{path.stem[3:]}.{suffix}"))
    changed(root, "[names]", '[names]\nimage_infix = "camera"\nmask_infix = "label"')
    dataset = open_dataset("custom", root)
    pairs = [(s.image.stem, s.mask.stem) for split in dataset.splits for s in dataset.split(split)]
    assert sorted(pairs)[0] == ("p0_camera_0", "p0_label_0")
    assert len(pairs) == 8


@pytest.mark.parametrize(
    ("masks", "first", "second", "expected"),
    [
        ("index", "0", "[255, 128]", [0, 255]),
        ("color", "[0, 0, 0]", "[[255, 0, 0], [9, 9, 9]]", [(0, 0, 0), (255, 0, 0)]),
        ("panoptic", "7", "[200, 201]", [7, 200]),
    ],
)
def test_class_values_are_the_first_in_the_file(tmp_path, save, masks, first, second, expected):
    save["image"](tmp_path / "images" / "a.png")
    panoptic = ', panoptic = "x.json"' if masks == "panoptic" else ""
    (tmp_path / "segmi.toml").write_text(
        f'format = 1\nmasks = "{masks}"\n'
        f'classes = [{{ name = "no", value = {first} }}, {{ name = "yes", value = {second} }}]\n'
        f'splits.train = {{ images = "images", masks = "masks"{panoptic} }}\n'
    )
    assert open_dataset("custom", tmp_path).class_values() == expected
