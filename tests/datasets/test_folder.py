"""Every layout, every kind of mask, and the seeded split of a user's folder."""

from __future__ import annotations

import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from segmi.datasets import open_dataset
from segmi.errors import DataError, UsageError

CLASSES = ["background", "cell", "wall"]
IDS = np.array([[0, 1, 2, 255, 1, 1, 0, 2]] * 6)
COLORS = [(0, 0, 0), (250, 10, 10), (10, 250, 10)]


def names(dataset, split: str) -> list[str]:
    return [sample.name for sample in dataset.split(split)]


def only_mask(dataset) -> np.ndarray:
    return dataset.read_mask(dataset.split("train")[0])


@pytest.fixture
def one(tmp_path, save):
    """Writes a mask beside one image and opens the folder of both."""

    def write(pixels, palette=None, **options):
        save["image"](tmp_path / "images" / "a.jpg")
        path = tmp_path / "masks" / "a.png"
        path.parent.mkdir(exist_ok=True)
        image = Image.fromarray(np.asarray(pixels, dtype=np.uint8))
        if palette is not None:
            image.putpalette([value for color in palette for value in color])
        image.save(path)
        return open_dataset("folder", tmp_path, **({"classes": CLASSES, "val": 0} | options))

    return write


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{0}/{1}.jpg", "masks/{0}/{1}.png"),
        ("{0}/images/{1}.png", "{0}/masks/{1}.png"),
        ("images/{0}/deep/{1}.tif", "masks/{0}/deep/{1}.bmp"),
    ],
)
@pytest.mark.parametrize(
    "folders", [("train", "val", "test"), ("training", "validation", "test"), ("train", "valid", "test")]
)
def test_splits_by_folder(tmp_path, save, image, mask, folders):
    for number, folder in enumerate(folders):
        for index in range(number + 1):
            save["image"](tmp_path / image.format(folder, index), index)
            save["mask"](tmp_path / mask.format(folder, index), index)
    dataset = open_dataset("folder", tmp_path, classes=CLASSES)
    assert dataset.splits == ("train", "val", "test")
    assert [len(dataset.split(split)) for split in dataset.splits] == [1, 2, 3]
    assert [int(dataset.read(sample)[1][0, 0]) for sample in dataset.split("test")] == [0, 1, 2]


def test_voc_layout_with_lists(tmp_path, save):
    for stem in ("a", "b", "c", "d"):
        save["image"](tmp_path / "JPEGImages" / f"{stem}.jpg")
        save["mask"](tmp_path / "SegmentationClass" / f"{stem}.png", 1)
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("c\na\n")
    (lists / "val.txt").write_text("b\n")
    dataset = open_dataset("folder", tmp_path, classes=CLASSES)
    assert (names(dataset, "train"), names(dataset, "val")) == (["c", "a"], ["b"])
    (lists / "val.txt").write_text("../b\n")
    with pytest.raises(DataError, match=r"val.txt: line 1: expected a name inside the dataset"):
        dataset.split("val")
    (lists / "val.txt").unlink()  # then val is drawn from train's list
    dataset = open_dataset("folder", tmp_path, classes=CLASSES, val=0.5)
    assert sorted(names(dataset, "train") + names(dataset, "val")) == ["a", "c"]


def test_voc_layout_without_lists(tmp_path, save):
    for index in range(4):
        save["image"](tmp_path / "JPEGImages" / f"{index}.jpg")
        save["mask"](tmp_path / "SegmentationClass" / f"{index}.png", 1)
    dataset = open_dataset("folder", tmp_path, classes=CLASSES, val=0.25)
    assert sorted(names(dataset, "train") + names(dataset, "val")) == ["0", "1", "2", "3"]
    assert len(dataset.split("val")) == 1


def test_the_split_is_seeded_and_complete(make):
    root = make("folder")
    for index in range(6, 30):
        for folder in ("images", "masks"):
            os.link(root / folder / "0000.png", root / folder / f"{index:04d}.png")
    drawn = {seed: open_dataset("folder", root, val=0.2, seed=seed) for seed in (0, 1)}
    for dataset in drawn.values():
        train, val = names(dataset, "train"), names(dataset, "val")
        assert sorted(train + val) == [f"{index:04d}" for index in range(30)]
        assert len(val) == 6
        assert train == sorted(train)
    assert names(drawn[0], "val") != names(drawn[1], "val")
    assert names(drawn[0], "val") == names(open_dataset("folder", root, val=0.2, seed=0), "val")
    assert open_dataset("folder", root, val=0).splits == ("train",)


def test_whole_groups_are_drawn(tmp_path, save):
    for patient in range(10):
        for slice_ in range(patient % 3 + 1):
            save["image"](tmp_path / "images" / f"p{patient}_{slice_}.png")
            save["mask"](tmp_path / "masks" / f"p{patient}_{slice_}.png", 0)
    dataset = open_dataset("folder", tmp_path, classes=CLASSES, val=0.3, group=r"^(p\d+)_")
    groups = {split: {sample.group for sample in dataset.split(split)} for split in dataset.splits}
    assert groups["train"] | groups["val"] == {f"p{patient}" for patient in range(10)}
    assert not groups["train"] & groups["val"]
    assert 3 <= len(dataset.split("val")) <= 9
    with pytest.raises(DataError, match=r"p0_0.png: expected a name that the group '\^x' matches(.|\n)*correct the"):
        open_dataset("folder", tmp_path, classes=CLASSES, group="^x").split("train")


def test_one_group_cannot_be_split(one):
    with pytest.raises(
        DataError, match=r"images: expected at least 2 groups to draw val from, got 1(.|\n)*set val to 0"
    ):
        one(np.zeros((6, 8)), val=0.2).split("val")


def test_index_masks(one):
    np.testing.assert_array_equal(only_mask(one(IDS, ignored=255)), IDS)


def test_palette_masks_are_values_without_declared_colors(one):
    palette = [(9, 9, 9), (8, 8, 8), (7, 7, 7)] + [(0, 0, 0)] * 253
    np.testing.assert_array_equal(only_mask(one(IDS, palette, ignored=255)), IDS)


def test_palette_masks_are_colors_with_declared_colors(one):
    """Another program can write the palette in another order: only the colors matter."""
    palette = [COLORS[2], COLORS[0], COLORS[1]] + [(1, 2, 3)] * 253
    mask = only_mask(one(IDS, palette, colors=COLORS, ignored_color=[1, 2, 3]))
    np.testing.assert_array_equal(mask, np.array([2, 0, 1, *[255] * 253])[IDS])
    np.testing.assert_array_equal(only_mask(one(IDS, palette, colors=COLORS, ignored=255, masks="index")), IDS)


def test_class_values_are_colors_where_masks_have_colors(one):
    table = np.array([*COLORS, *[(1, 2, 3)] * 253])
    colored = one(table[IDS], colors=COLORS, ignored_color=[1, 2, 3])
    assert colored.class_values() == [tuple(color) for color in COLORS]


def test_class_values_skip_the_ignored_value(one):
    assert one(np.full((6, 8), 1), ignored=0).class_values() == list(range(1, len(CLASSES) + 1))


def test_rgb_masks(one):
    table = np.array([*COLORS, *[(1, 2, 3)] * 253])
    mask = only_mask(one(table[IDS], colors=COLORS, ignored_color=[1, 2, 3]))
    np.testing.assert_array_equal(mask, IDS)


def test_rgb_masks_with_an_unknown_color(one):
    pixels = np.zeros((6, 8, 3))
    pixels[0, 0] = (3, 2, 1)
    dataset = one(pixels, colors=COLORS)
    with pytest.raises(DataError, match=r"masks.a.png: expected only the colors of .* got also 3 2 1 \(2.1%"):
        only_mask(dataset)


def test_binary_black_and_white_masks(one):
    pixels = np.array([[0, 255] * 4] * 6)
    with pytest.raises(DataError, match=r"got also 255 \(50.0% of the pixels\)(.|\n)*ignored=255(.|\n)*masks=color"):
        only_mask(one(pixels, classes=["other", "lesion"]))
    options = {"classes": ["other", "lesion"], "colors": [[0] * 3, [255] * 3], "masks": "color"}
    np.testing.assert_array_equal(only_mask(one(pixels, **options)), pixels // 255)
    np.testing.assert_array_equal(only_mask(one(pixels.astype(bool), classes=["other", "lesion"])), pixels // 255)


def test_ignored_zero_shifts_the_classes(one):
    np.testing.assert_array_equal(only_mask(one([[0, 1, 2, 3] * 2] * 6, ignored=0)), [[255, 0, 1, 2] * 2] * 6)


def test_mask_suffix_and_files_that_are_not_images(tmp_path, save):
    save["image"](tmp_path / "images" / "a.JPG")
    save["mask"](tmp_path / "masks" / "a_mask.png", 1)
    for name in ("images/Thumbs.db", "images/notes.txt", "masks/.DS_Store", "images/._a.JPG", "masks/._a_mask.png"):
        (tmp_path / name).write_text("")
    dataset = open_dataset("folder", tmp_path, classes=CLASSES, mask_suffix="_mask", val=0)
    assert names(dataset, "train") == ["a"]
    assert (only_mask(dataset) == 1).all()


def test_names_in_two_unicode_forms_are_paired(tmp_path, save):
    composed, decomposed = (unicodedata.normalize(form, "Café 🚗") for form in ("NFC", "NFD"))
    save["image"](tmp_path / "images" / f"{decomposed}.png")
    save["mask"](tmp_path / "masks" / f"{composed}.png", 1)
    assert names(open_dataset("folder", tmp_path, classes=CLASSES, val=0), "train") == [composed]


def test_names_that_are_not_unicode(tmp_path, save):
    try:
        for index in range(3):
            save["image"](tmp_path / "images" / f"caf\udce9 {index}.png")
            save["mask"](tmp_path / "masks" / f"caf\udce9 {index}.png", 1)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    dataset = open_dataset("folder", tmp_path, classes=CLASSES)
    listed = names(dataset, "train") + names(dataset, "val")
    assert sorted(listed) == [f"caf\\xe9 {index}" for index in range(3)]
    dataset.read(dataset.split("train")[0])


def test_subfolder_and_title(make):
    root = make("folder")
    dataset = open_dataset("folder", root.parent, subfolder="data")
    assert dataset.info.title == "data"
    assert dataset.info.name == "folder"
    assert open_dataset("folder", root, title="Cells").info.title == "Cells"
    with pytest.raises(DataError, match=r"that is nowhere in one of"):
        open_dataset("folder", root, subfolder="nowhere")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masks": "colors"}, "masks: expected auto, index or color, got 'colors'"),
        ({"masks": "color"}, "masks=color: expected a color for every class, got none"),
        ({"val": 1.0}, "val: expected a share of the images"),
        ({"val": -0.1}, "val: expected a share of the images"),
        ({"group": "("}, "group: expected a regular expression, got"),
        ({"subfolder": "../other"}, "subfolder: expected a path below the root"),
        ({"subfolder": "/etc"}, "subfolder: expected a path below the root"),
    ],
)
def test_invalid_options(make, options, message):
    with pytest.raises(UsageError) as caught:
        open_dataset("folder", make("folder"), **options)
    assert message in str(caught.value)
    assert caught.value.remedy


def test_an_unknown_layout_lists_the_files(tmp_path):
    (tmp_path / "classes.txt").write_text("a\nb")
    (tmp_path / "images").mkdir()
    with pytest.raises(
        DataError, match=r"expected images/ and masks/, .* got classes.txt, images(.|\n)*arrange the files"
    ):
        open_dataset("folder", tmp_path)
