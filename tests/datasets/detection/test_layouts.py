"""Every layout is detected from the files alone: pairs, classes, ignored values, splits, groups."""

from __future__ import annotations

import shutil
import unicodedata

import numpy as np
import pytest
from PIL import Image

from segmi.datasets import open_dataset
from segmi.datasets.custom import FILE_NAME, CustomDataset
from segmi.datasets.detection import propose
from segmi.datasets.palette import CAMVID_PALETTE, CITYSCAPES_PALETTE, VOC_PALETTE
from segmi.errors import UsageError

ELEVEN = [f"class {value}" for value in range(11)]
EXPECTED = {
    # layout: words, splits with their sizes, names of the classes, ignored
    "voc": ("PASCAL VOC's layout, splits by the lists in ImageSets/Segmentation", [5, 3], 21, (255,)),
    "cityscapes": ("Cityscapes' layout", [6, 3], 19, None),
    "segnet": ("SegNet's layout", [4, 2, 2], 11, (11,)),
    "parallel": ("images and masks in separate folders", [8, 2], ELEVEN, (255,)),
    "parallel_with_splits": ("images and masks in separate folders", [4, 2], ELEVEN, (255,)),
    "split_folders": ("images and masks in separate folders", [4, 2, 2], ELEVEN, (255,)),
    "suffixes": (
        "images and masks side by side, with different names",
        None,
        ["background", "foreground"],
        (),
    ),
    "both_suffixes": (
        "images and masks side by side, with different names",
        [5, 1],
        [f"c{index}" for index in range(11)],
        ((0, 0, 0),),
    ),
    "cvat": ("PASCAL VOC's layout", [5, 1], [f"thing{index}" for index in range(11)], ((0, 0, 0),)),
    "few_colors": ("two folders, one with masks", [5, 1], 3, ()),
    "panoptic": ("COCO's panoptic PNG files with their JSON", [4, 2], ["person", "road", "sky-other"], ()),
    "unnamed": ("two folders, one with masks", [4, 1], 11, (255,)),
    "scene_folders": ("folders that each hold images and masks", [6, 2], ELEVEN, (255,)),
    "patient_folders": (
        "images and masks side by side, with different names",
        [6, 2],
        ["background", "foreground"],
        (),
    ),
    "sample_folders": ("images and masks side by side, with different names", [6, 2], ELEVEN, (255,)),
    "openmmlab": ("images and masks in separate folders", [4, 2], [f"n{value}" for value in range(11)], (255,)),
    "roboflow": ("images and masks side by side, with different names", [4, 2], ["other", "car"], ()),
    "trimaps": (
        "images and masks in separate folders, splits by the lists in annotations",
        [5, 1, 2],
        ["class 1", "class 2", "class 3"],
        (),
    ),
}


@pytest.mark.parametrize("layout", EXPECTED)
def test_layouts_are_detected(make, layout):
    words, sizes, classes, ignored = EXPECTED[layout]
    proposal = propose(make(layout))
    dataset = proposal.dataset
    assert proposal.layout == words
    assert dataset.splits == ("train", "val", "test")[: len(dataset.splits)]
    if sizes is not None:
        assert [len(dataset.split(split)) for split in dataset.splits] == sizes
    names = list(dataset.info.classes)
    assert names == classes if isinstance(classes, list) else len(names) == classes
    if ignored is not None:
        assert dataset.config.ignored == ignored
    for split in dataset.splits:
        for sample in dataset.split(split):
            image, mask = dataset.read(sample)
            assert image.shape[:2] == mask.shape
            assert set(np.unique(mask)) <= {*range(len(names)), 255}


@pytest.mark.parametrize("layout", EXPECTED)
def test_the_file_reads_back_as_proposed(make, layout):
    root = make(layout)
    proposal = propose(root)
    (root / FILE_NAME).write_text(proposal.text(), encoding="utf-8")
    proposal.sheet().save(root / "segmi-contact-sheet.png")  # a file beside the data
    reread = open_dataset("custom", root)
    assert isinstance(reread, CustomDataset)
    assert reread.config == proposal.dataset.config
    assert reread.config.parts == proposal.dataset.config.parts
    assert reread.info == proposal.dataset.info
    for split in reread.splits:
        assert reread.split(split) == proposal.dataset.split(split)


@pytest.mark.parametrize(
    ("layout", "official"), [("voc", "voc2012"), ("cityscapes", "cityscapes"), ("segnet", "camvid")]
)
def test_known_datasets_are_read_like_by_their_readers(make, layout, official):
    root = make(layout)
    for path in root.glob("*.txt"):
        path.unlink()  # SegNet's lists name other machines' files
    mine, theirs = propose(root).dataset, open_dataset(official, root)
    assert mine.info.classes == theirs.info.classes
    assert mine.info.palette == theirs.info.palette
    assert [mine.info.lookup[i] for i in range(256) if theirs.info.lookup[i] >= 0] == [
        value for value in theirs.info.lookup if value >= 0
    ]
    for split in theirs.splits:
        pairs = {sample.image: sample for sample in mine.split(split)}
        assert pairs.keys() == {sample.image for sample in theirs.split(split)}
        for sample in theirs.split(split):
            own = pairs[sample.image]
            assert own.mask == sample.mask
            np.testing.assert_array_equal(mine.read_mask(own), theirs.read_mask(sample))


def test_values_are_read_as_drawn(make, labels):
    dataset = propose(make("panoptic")).dataset
    drawn = labels(0)
    expected = np.full(drawn.shape, 255)
    for value, index in {0: 2, 3: 1, 9: 0}.items():
        expected[drawn == value] = index
    np.testing.assert_array_equal(dataset.read_mask(dataset.split("train")[0]), expected)


def test_groups_stay_in_one_split(make):
    dataset = propose(make("suffixes"), val=0.34).dataset
    assert dataset.config.affixes.mask_suffix == "_mask"
    patients = {split: {sample.group for sample in dataset.split(split)} for split in dataset.splits}
    assert patients["train"] | patients["val"] == {f"p{number}" for number in range(6)}
    assert not patients["train"] & patients["val"]
    assert len(dataset.split("val")) == 6


def test_splits_are_drawn_by_the_seed(make):
    root = make("parallel")
    drawn = [propose(root, val=0.3, test=0.2, seed=seed).dataset for seed in (0, 0, 1)]
    names = [{split: [s.name for s in one.split(split)] for split in one.splits} for one in drawn]
    assert names[0] == names[1]
    assert names[0] != names[2]
    assert [len(names[0][split]) for split in ("train", "val", "test")] == [5, 3, 2]
    assert sorted(name for split in names[0].values() for name in split) == [f"photo {number}" for number in range(10)]


def test_explicit_folders_win(make):
    root = make("parallel")
    (root / "masks").rename(root / "odd one")
    proposal = propose(root, masks="odd one", title="Streets")
    assert proposal.dataset.config.parts["train"].masks == "odd one"
    assert proposal.report.title == "Streets"


def test_images_of_a_scene_stay_in_one_split(make):
    dataset = propose(make("scene_folders")).dataset
    groups = {split: {sample.group for sample in dataset.split(split)} for split in dataset.splits}
    assert not groups["train"] & groups["val"]
    assert groups["train"] | groups["val"] == {f"scene {number}" for number in range(4)}


def test_pairs_only(make):
    root = make("parallel")
    for name in ("photo 1.png", "photo 4.png"):
        (root / "masks" / name).unlink()
    proposal = propose(root, pairs_only=True)
    assert "2 unmatched files left out" in proposal.notes
    assert sum(len(proposal.dataset.split(split)) for split in proposal.dataset.splits) == 8
    (root / FILE_NAME).write_text(proposal.text(), encoding="utf-8")
    assert open_dataset("custom", root).split("train") == proposal.dataset.split("train")


def test_links_are_followed_but_not_in_circles(make, tmp_path):
    root = make("parallel")
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in ("images", "masks"):
        (linked / name).symlink_to(root / name)
    (root / "images" / "back").symlink_to(root)
    assert len(propose(linked).dataset.split("train")) == 8


def test_unicode_forms_of_names_are_equal(make):
    root = make("parallel")
    for folder, form in (("images", "NFD"), ("masks", "NFC")):
        for path in sorted((root / folder).iterdir()):
            path.rename(path.with_name(unicodedata.normalize(form, f"für {path.name}")))
    assert len(propose(root).dataset.split("train")) == 8


def test_a_mask_folder_of_every_split_is_named_once(make):
    root = make("split_folders")
    for split in ("train", "val", "test"):
        shutil.copytree(root / split / "gt", root / split / "masks")
    with pytest.raises(UsageError, match=r"got 2 that fit: test/gt, test/masks(.|\n)*--masks gt"):
        propose(root)
    dataset = propose(root, masks="gt").dataset
    assert [part.masks for part in dataset.config.parts.values()] == ["train/gt", "val/gt", "test/gt"]


def test_unused_folders_are_reported(make):
    root = make("parallel")
    (root / "masks").rename(root / "labels")
    (root / "raw").mkdir()
    for path in (root / "images").iterdir():
        (root / "raw" / f"{path.stem}-raw.jpg").write_bytes(path.read_bytes())
    assert "not used: raw (10 files)" in propose(root).notes


@pytest.mark.parametrize("color", ["Cityscapes", "CamVid"])
def test_published_colors_give_the_class_names(make, labels, color):
    root = make("parallel")
    palette = {"Cityscapes": CITYSCAPES_PALETTE, "CamVid": CAMVID_PALETTE}[color]
    for number in range(10):
        Image.fromarray(np.array(palette, np.uint8)[labels(number)]).save(root / "masks" / f"photo {number}.png")
    proposal = propose(root)
    assert f"the colors match {color}" in proposal.notes
    assert proposal.dataset.config.ignored == ((0, 0, 0),)


def test_a_few_values_from_0_are_custom_classes(make):
    """Tools for labels write VOC's layout and palette for any classes."""
    root = make("voc")
    for path in (root / "SegmentationClass").iterdir():
        pixels = np.asarray(Image.open(path))
        own = Image.fromarray(np.where(pixels == 255, 0, pixels % 3).astype(np.uint8))
        own.putpalette([value for one in VOC_PALETTE for value in one])
        own.save(path)
    assert propose(root).dataset.info.classes == ("background", "class 1", "class 2")


def test_the_sheet_shows_images_and_names(make):
    proposal = propose(make("parallel"))
    sheet = np.asarray(proposal.sheet(4))
    colors = {tuple(color) for color in proposal.dataset.info.palette[:11]}
    legend = sheet[-200:].reshape(-1, 3)
    assert colors <= {tuple(int(c) for c in color) for color in np.unique(legend, axis=0)}
    assert sheet.shape[1] > 1000
