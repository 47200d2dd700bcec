"""Splits in the names of files that share a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmi.datasets import open_dataset
from segmi.datasets.detection import Proposal, propose

SPLITS = ["train", "train", "train", "val", "val", "test"]


def write(root: Path, image: str, mask: str, splits: list[str]) -> Proposal:
    """Write an image and a mask per split, named by patterns of the split and a number within it."""
    for number, split in enumerate(splits):
        rng, label = np.random.default_rng(number), np.zeros((24, 32), np.uint8)
        label[4 + number : 14, 6:20] = 1
        pixels = (rng.integers(0, 90, (24, 32, 3)) + 120 * label[..., None]).astype(np.uint8)
        for pattern, one in ((image, pixels), (mask, label)):
            path = root / pattern.format(split=split, number=splits[:number].count(split))
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(one).save(path)
    proposal = propose(root)
    (root / "segmi.toml").write_text(proposal.text())
    return proposal


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{split}_{number:03}.png", "masks/{split}_{number:03}.png"),
        ("images/{number}-{split}.png", "masks/{number}-{split}.png"),
        ("photos/{split}_{number}.png", "annotations/{split}_{number}_mask.png"),
        ("{split}-{number}.png", "{split}-{number}_mask.png"),
    ],
)
def test_splits_in_names(tmp_path: Path, image: str, mask: str) -> None:
    proposal = write(tmp_path, image, mask, SPLITS)
    assert proposal.layout.endswith(", splits by the names of the files")
    assert not any("not used" in note or "share" in note for note in proposal.notes)
    dataset = open_dataset("custom", tmp_path)
    for split in ("train", "val", "test"):
        numbers = range(SPLITS.count(split))
        expected = [(image.format(split=split, number=n), mask.format(split=split, number=n)) for n in numbers]
        samples = dataset.split(split)
        found = [tuple(str(path).removeprefix(f"{tmp_path}/") for path in (s.image, s.mask)) for s in samples]
        assert found == expected


@pytest.mark.parametrize(
    "splits",
    [
        ["train", "train", "train", "tram", "val"],  # some names are of no split
        ["train"] * 5,  # trains
        ["val", "val", "val", "test", "test"],
        ["train", "train", "val", "valid", "train"],  # val and valid are not the same
        ["traincar", "traincar", "valcar", "valcar", "valcar"],
    ],
)
def test_other_names_are_of_one_split(tmp_path: Path, splits: list[str]) -> None:
    proposal = write(tmp_path, "images/{split}_{number}.png", "masks/{split}_{number}.png", splits)
    assert proposal.layout == "images and masks in separate folders"
    assert [split.images for split in proposal.report.splits] == [4, 1]


def test_lists_win_over_names(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("train_0\ntrain_1\nval_0\n")
    (tmp_path / "val.txt").write_text("train_2\nval_1\n")
    proposal = write(tmp_path, "images/{split}_{number}.png", "masks/{split}_{number}.png", SPLITS[:5])
    assert [split.images for split in proposal.report.splits] == [3, 2]
