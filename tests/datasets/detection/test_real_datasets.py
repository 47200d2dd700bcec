"""Datasets as published: one call describes each of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from segmi.datasets.detection import propose

EXPECTED = {
    # images per split, number of groups, the first classes with their values, ignored values, a note
    "CamVid": ([367, 101], 3, {"sky": 0, "building": 1}, (11,), "3 clips by the names before their number"),
    "IDDLite": ([1403, 204], 370, {"class 0": 0, "class 1": 1}, (255,), "370 groups by the folders"),
    "CCP": ([704, 300], 1004, {"null": 0, "accessories": 1}, (), "the names are those in classes.txt"),
    "DSB2018": ([465, 199], 10, {"background": 0, "foreground": 1}, (), "10 groups by groups.txt"),
    "LabelMeFacade": (None, 104, {"class 0": 0, "class 1": 1}, (255,), "further lists: place_train.txt (645 images)"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_published_datasets(real_data: Path, name: str) -> None:
    if not (real_data / name).is_dir():
        pytest.skip(f"needs {name} in the folder of the real datasets")
    sizes, count, classes, ignored, words = EXPECTED[name]
    proposal = propose(real_data / name)
    dataset = proposal.dataset
    config = dataset.config
    samples = {split: dataset.split(split) for split in dataset.splits}
    assert sizes is None or [len(found) for found in samples.values()] == sizes
    assert len({sample.group for found in samples.values() for sample in found}) == count
    assert {one.name: one.values[0] for one in config.classes[:2]} == classes
    assert config.ignored == ignored
    assert any(note.startswith(words) for note in proposal.notes)
    assert not proposal.report.problems
