"""Missing, unmatched, unreadable and damaged files in every layout."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from segmi.datasets import check_dataset, open_dataset
from segmi.errors import DataError, EnvironmentProblem, SegmiError


def test_two_files_of_one_stem(make, save):
    root = make("folder")
    save["image"](root / "images" / "0001.bmp", 99)
    with pytest.raises(DataError, match=r"0001.png: expected one file of this stem, got also 0001.bmp(.|\n)*keep one"):
        open_dataset("folder", root).split("train")


@pytest.mark.parametrize(("name", "value"), [("cityscapes", 34), ("voc2012", 21), ("ade20k", 151), ("camvid", 12)])
def test_unknown_values_of_every_layout(name, value, make):
    dataset = open_dataset(name, make(name))
    sample = dataset.split("val")[0]
    unknown_id_mask = np.array(Image.open(sample.mask))
    unknown_id_mask[2, 3] = value
    Image.fromarray(unknown_id_mask).save(sample.mask)
    with pytest.raises(DataError) as caught:
        dataset.read(sample)
    for part in (str(sample.mask), f"got also {value} (", "restore the original file of the dataset"):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["cityscapes", "voc2012", "ade20k", "camvid"])
@pytest.mark.parametrize("lost", ["image", "mask"])
def test_unmatched_files_in_every_layout(name, lost, make):
    dataset = open_dataset(name, make(name))
    sample = dataset.split("train")[0]
    gone, left = (sample.image, sample.mask) if lost == "image" else (sample.mask, sample.image)
    gone.unlink()
    with pytest.raises(DataError) as caught:
        dataset.split("train")
    text = str(caught.value)
    assert f"{left}: {'mask without image' if lost == 'image' else 'image without mask'}" in text
    assert ("add the image" if lost == "image" else "add the mask") in text
    assert any(problem.file == str(left) for problem in check_dataset(dataset).problems)


def test_a_file_removed_during_training(make):
    dataset = open_dataset("camvid", make("camvid"))
    sample = dataset.split("train")[0]
    sample.image.unlink()
    with pytest.raises(DataError, match=r"0001TP_006690.png: expected a file, got none(.|\n)*put the file there"):
        dataset.read(sample)


def test_an_unreadable_file(make, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    dataset = open_dataset("camvid", make("camvid"))
    sample = dataset.split("train")[0]
    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(EnvironmentProblem, match=r"0001TP_006690.png: read permission(.|\n)*give this user"):
        dataset.read(sample)


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_random_damage_never_escapes(kind, make):
    """A file with a flipped byte is read, or refused by name."""
    dataset = open_dataset("folder", make("folder"))
    sample = dataset.split("train")[0]
    path = sample.image if kind == "images" else sample.mask
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[generator.integers(len(damaged))] ^= int(generator.integers(1, 256))
        path.write_bytes(bytes(damaged))
        try:
            dataset.read(sample)
        except SegmiError as error:
            assert path.name in str(error)  # noqa: PT017  (reading it without an error is fine, too)
            assert error.remedy  # noqa: PT017
