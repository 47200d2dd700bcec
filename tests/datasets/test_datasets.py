"""One contract for all datasets; a new dataset needs a maker in conftest."""

from __future__ import annotations

import pytest

from segmi import testing, types
from segmi.datasets import DATASETS, DatasetReader, check_dataset, dataset_class, dataset_names, open_dataset
from segmi.errors import DataError, UsageError
from segmi.testing import DATASET_RULES
from segmi.types import IGNORE_INDEX

GENERATED = {
    "street-scenes": {"train": 2, "val": 2, "height": 48, "width": 64},
    "object-scenes": {"train": 2, "val": 2, "height": 48, "width": 64},
}


@pytest.fixture(params=sorted(DATASETS))
def dataset(request, make) -> DatasetReader:
    if request.param in GENERATED:
        return open_dataset(request.param, **GENERATED[request.param])
    return open_dataset(request.param, make(request.param))


@pytest.mark.parametrize("rule", DATASET_RULES)
def test_the_contract(dataset, rule):
    testing.check_dataset(dataset, rules=[rule])


def test_the_official_values_of_classes(dataset):
    official = {
        "cityscapes": [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33],
        "ade20k": list(range(1, 151)),
        "voc2012": list(range(21)),
    }
    assert dataset.class_values() == official.get(dataset.info.name, dataset.class_values())
    assert DATASETS[dataset.info.name] is type(dataset)


def test_the_check_finds_no_problem(dataset):
    steps = []
    report = check_dataset(dataset, progress=lambda done, total: steps.append((done, total)))
    assert report.problems == ()
    assert report.error() is None
    assert [split.name for split in report.splits] == list(dataset.splits)
    count = sum(len(dataset.split(split)) for split in dataset.splits)
    assert steps == [(done, count) for done in range(1, count + 1)]


def test_an_unknown_split_names_the_known(dataset):
    with pytest.raises(UsageError, match=r"unknown split of .* 'vall'(.|\n)*did you mean 'val'"):
        dataset.split("vall")


def test_ignore_index_is_the_same_everywhere():
    assert IGNORE_INDEX == types.IGNORE_INDEX


def test_an_unknown_dataset_names_the_nearest():
    with pytest.raises(UsageError, match=r"unknown dataset 'citiscapes'(.|\n)*did you mean 'cityscapes'"):
        dataset_class("citiscapes")
    assert set(dataset_names()) >= set(DATASETS)


def test_an_unknown_option_names_the_nearest(make):
    with pytest.raises(UsageError, match=r"'folder' has no option 'clases'(.|\n)*did you mean 'classes'"):
        open_dataset("folder", make("folder"), clases=["a"])


READERS = ["cityscapes", "voc2012", "ade20k", "camvid", "folder"]


@pytest.mark.parametrize("name", READERS)
def test_no_root(name, monkeypatch):
    monkeypatch.delenv("SEGMI_DATA", raising=False)
    with pytest.raises(DataError, match=r"--root or the environment variable SEGMI_DATA, got neither"):
        open_dataset(name)


@pytest.mark.parametrize("name", READERS)
def test_an_empty_folder(name, tmp_path):
    with pytest.raises(DataError) as caught:
        open_dataset(name, tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.exit_code == 3
    assert caught.value.remedy


@pytest.mark.parametrize("name", READERS)
def test_a_missing_root(name, tmp_path):
    with pytest.raises(DataError, match=r"missing: expected the folder of .*, got nothing there(.|\n)*correct --root"):
        open_dataset(name, tmp_path / "missing")


@pytest.mark.parametrize(
    ("name", "subfolder"),
    [
        ("cityscapes", "."),
        ("voc2012", "VOCdevkit/VOC2012"),
        ("voc2012", "VOCdevkit"),
        ("voc2012", "."),
        ("ade20k", "."),
        ("ade20k", "ADEChallengeData2016"),
        ("camvid", "."),
        ("camvid", "CamVid"),
    ],
)
def test_the_root_or_its_parent_as_argument_or_variable(name, subfolder, make, monkeypatch):
    root = make(name) / subfolder
    assert open_dataset(name, root).split("train")
    monkeypatch.setenv("SEGMI_DATA", str(root))
    assert open_dataset(name).split("train")


def test_the_parent_folder_of_cityscapes(make, tmp_path):
    make("cityscapes").rename(tmp_path / "cityscapes")
    assert open_dataset("cityscapes", tmp_path).split("train")


def test_a_wrong_root_lists_the_candidates(make):
    root = make("camvid")
    with pytest.raises(DataError) as caught:
        open_dataset("voc2012", root)
    for part in (str(root / "VOCdevkit" / "VOC2012"), "JPEGImages", "got CamVid", "SEGMI_DATA"):
        assert part in str(caught.value)


def test_a_split_with_missing_images(make):
    root = make("ade20k")
    for file in root.rglob("*val*"):
        if file.is_file():
            file.unlink()
    with pytest.raises(DataError, match=r"split 'val' of ade20k is empty: expected images, got none in .*ADEChallenge"):
        open_dataset("ade20k", root).split("val")


def test_generated_datasets_ignore_the_root(tmp_path):
    dataset = open_dataset("street-scenes", tmp_path, **GENERATED["street-scenes"])
    assert len(dataset.split("train")) == 2
