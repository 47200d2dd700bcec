"""Folds of a dataset: every image once, whole groups, one cache entry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmi.datasets import Folder
from segmi.datasets.folds import Fold, assign_folds, parse_fold
from segmi.datasets.processing import Processing
from segmi.errors import UsageError
from segmi.study.dataset_context import DatasetContext


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Seven images of train and three of val with equal names; the gray level of an image is its number."""
    level = 0
    for split, names in (("train", "a1 a2 a3 b1 b2 c1 d1"), ("val", "a1 e1 e2"), ("test", "z1")):
        for name in names.split():
            for kind, value in (("images", level), ("masks", level % 2)):
                path = tmp_path / kind / split / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full((8, 8), value, np.uint8)).save(path)
            level += 1
    return Folder(tmp_path, classes=["even", "odd"], group="^(.)")


def test_every_image_is_in_one_fold_with_its_whole_group(folder: Folder) -> None:
    folds = [Fold(folder, number, 3) for number in (1, 2, 3)]
    vals = [fold.split("val") for fold in folds]
    assert sorted(sample.name for samples in vals for sample in samples) == [
        "train-a1", "train-a2", "train-a3", "train-b1", "train-b2", "train-c1", "train-d1", "val-a1", "val-e1",
        "val-e2",
    ]  # fmt: skip
    for fold, val in zip(folds, vals, strict=True):
        train = fold.split("train")
        assert len(train) + len(val) == 10
        assert not {sample.group for sample in train} & {sample.group for sample in val}
    assert sorted(map(len, vals)) == [3, 3, 4]
    # The name of the other split's image of the same name does not mix them up.
    levels = {sample.name: int(fold.read_image(sample).max()) for fold in folds for sample in fold.split("val")}
    assert levels["train-a1"] == 0
    assert levels["val-a1"] == 7


def test_images_without_groups_and_equal_names_are_independent(folder: Folder, tmp_path: Path) -> None:
    single = Folder(tmp_path, classes=["even", "odd"])
    fold = Fold(single, 1, 10)
    assert len({sample.group for sample in fold.samples}) == 10
    assert len(fold.split("val")) == 1


def test_folds_are_balanced_and_do_not_depend_on_order() -> None:
    groups = ["a"] * 5 + ["b"] * 3 + ["c"] * 2 + ["d"] * 2 + ["e"] * 2
    assigned = assign_folds(groups, 3)
    assert sorted(assigned.count(fold) for fold in range(3)) == [4, 5, 5]
    backward = assign_folds(groups[::-1], 3)[::-1]
    assert assigned == backward


def test_folds_share_a_cache_entry(folder: Folder, tmp_path_factory: pytest.TempPathFactory) -> None:
    processing = Processing(resize=None, crop=8)
    cache = tmp_path_factory.mktemp("cache")
    for number in (1, 2, 3):
        context = DatasetContext(Fold(folder, number, 3), cache)
        for split in ("train", "val"):
            samples = context.dataset.split(split)
            images = context.images(split, samples, processing, 0, labels=split == "val")
            shown = [int(images[index].image.max()) for index in range(len(samples))]
            assert shown == [int(folder.read_image(sample).max()) for sample in samples]
        labels = [int(folder.read_mask(sample).max()) for sample in context.dataset.split("train")]
        assert context.most_frequent_class() == int(sum(labels) * 2 > len(labels))
    assert [path.name[:12] for path in cache.iterdir() if path.is_dir()] == ["folder-folds"]


@pytest.mark.parametrize("text", ["0/5", "6/5", "1", 3, "a/b"])
def test_other_forms_of_a_fold_are_refused(text: object) -> None:
    with pytest.raises(UsageError, match="expected a fold such as 2/5, got"):
        parse_fold(text)
    assert parse_fold("2/5") == (2, 5)


def test_more_folds_than_groups_are_refused(folder: Folder) -> None:
    with pytest.raises(UsageError) as error:
        Fold(folder, 1, 6).split("train")
    assert "expected at least 6 groups of images for 6 folds, got 5 groups of 10 images" in str(error.value)
    with pytest.raises(UsageError, match="expected at least 2 folds, got 1"):
        assign_folds(["a", "b"], 1)
