"""Counts, shares, duplicates and overlaps, on data where they are known."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from segmi.datasets import check_dataset, open_dataset
from segmi.errors import UsageError


def test_counts_and_shares(make, save):
    root = make("camvid")
    masks = sorted((root / "CamVid" / "trainannot").iterdir())
    half_ignored = np.full((6, 8), 3)
    half_ignored[:3] = 11
    save["mask"](masks[0], half_ignored)  # 24 road, 24 ignored
    save["mask"](masks[1], np.where(half_ignored == 11, 0, 3))  # 24 sky, 24 road
    report = check_dataset(open_dataset("camvid", root), ["train"])
    (train,) = report.splits
    assert (train.images, train.readable, train.groups) == (2, 2, 2)
    assert train.smallest == train.largest == (8, 6)
    assert train.class_pixels == (24, 0, 0, 48, 0, 0, 0, 0, 0, 0, 0)
    assert train.ignored_pixels == 24
    assert train.class_shares[0] == pytest.approx(1 / 3)
    assert train.class_shares[3] == pytest.approx(2 / 3)
    assert train.ignored_share == pytest.approx(0.25)
    assert "train has no pixel of: building, pole, pavement" in " ".join(report.notes)


def test_the_report_is_json(make):
    report = check_dataset(open_dataset("folder", make("folder"))).as_dict()
    again = json.loads(json.dumps(report))
    assert again["ok"] is True
    assert sum(split["images"] for split in again["splits"]) == 6
    assert sum(again["splits"][0]["class_shares"]) == pytest.approx(1)
    assert "ignored_share" in again["splits"][0]


def test_an_image_in_two_splits_is_a_problem(make):
    root = make("camvid") / "CamVid"
    shutil.copy(root / "train/0001TP_006690.png", root / "val/0016E5_07959.png")
    (problem,) = check_dataset(open_dataset("camvid", root)).problems
    assert problem.file == str(root / "val/0016E5_07959.png")
    assert problem.message == f"this image of val is also in train, as {root / 'train/0001TP_006690.png'}"
    assert "remove one of the two files and its mask" in problem.remedy


def test_a_name_in_two_lists_is_a_problem(make):
    root = make("voc2012")
    lists = root / "VOCdevkit/VOC2012/ImageSets/Segmentation"
    with (lists / "val.txt").open("a") as file:
        file.write("2007_000032\n")
    report = check_dataset(open_dataset("voc2012", root))
    assert [problem.file.endswith("2007_000032.jpg") for problem in report.problems] == [True]
    assert "remove it from one of the two splits" in report.problems[0].remedy
    assert any("share the group 2007_000032" in note for note in report.notes)


def test_a_name_twice_in_a_list_is_a_problem(make):
    root = make("voc2012")
    path = root / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"
    path.write_text(path.read_text() * 2)
    report = check_dataset(open_dataset("voc2012", root))
    assert len(report.problems) == 2
    assert all(problem.file == str(path) for problem in report.problems)


def test_the_same_image_twice_in_a_split_is_a_note(make):
    root = make("camvid") / "CamVid"
    shutil.copy(root / "train/0001TP_006690.png", root / "train/0006R0_f00930.png")
    report = check_dataset(open_dataset("camvid", root))
    assert report.problems == ()
    assert any("0006R0_f00930.png is the same image as" in note for note in report.notes)


def test_groups_in_two_splits_are_a_note(make, save):
    root = make("camvid") / "CamVid"
    for folder, kind in (("train", "image"), ("trainannot", "mask")):
        save[kind](root / folder / "0016E5_1.png", 5)
    (root / "train.txt").unlink()
    notes = check_dataset(open_dataset("camvid", root)).notes
    assert any("train and val share the group 0016E5 (1 and 2 images)" in note for note in notes)


def test_a_mask_of_ignored_pixels_is_a_note(make, save):
    root = make("camvid") / "CamVid"
    save["mask"](root / "valannot/0016E5_07959.png", 11)
    report = check_dataset(open_dataset("camvid", root))
    assert report.problems == ()
    assert f"{root / 'valannot/0016E5_07959.png'} has ignored pixels only" in report.notes


def test_an_empty_split_is_a_problem(make):
    root = make("ade20k")
    for file in (root / "ADEChallengeData2016").rglob("ADE_val*"):
        file.unlink()
    (problem,) = check_dataset(open_dataset("ade20k", root)).problems
    assert "split 'val' of ade20k is empty" in problem.message
    assert "unpack" in problem.remedy


def test_unknown_split(make):
    with pytest.raises(UsageError, match=r"unknown split of camvid 'valid'"):
        check_dataset(open_dataset("camvid", make("camvid")), ["valid"])
