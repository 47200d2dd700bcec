"""Runs with and without the image cache are bit-identical; without a writable cache, images are decoded."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segmi.datasets import open_dataset
from segmi.datasets.processing import Processing
from segmi.datasets.reader import DatasetReader, Sample
from segmi.study import DataRoots
from segmi.study.dataset_context import DatasetContext, split_train
from segmi.study.run import run_study
from segmi.study.run_config import TrainingSection
from segmi.study.strict_yaml import parse
from segmi.study.study_file import apply_overrides
from segmi.study.validation import validated

PROCESSING = Processing(resize=20, crop=16)


@pytest.fixture
def scenes() -> DatasetReader:
    return open_dataset("street-scenes", train=4, val=2, height=24, width=32)


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the samples that are read during the test."""
    read: list[str] = []
    for name in ("read_image", "read_mask"):
        original = getattr(DatasetReader, name)

        def noted(self: DatasetReader, sample: Any, original: Any = original) -> Any:
            read.append(sample.name)
            return original(self, sample)

        monkeypatch.setattr(DatasetReader, name, noted)
    return read


def files(folder: Path) -> dict[str, bytes]:
    wanted = ("bundles/*/*.safetensors", "metrics.csv", "*.npz", "config.yaml")
    return {str(path.relative_to(folder)): path.read_bytes() for one in wanted for path in folder.rglob(one)}


def test_cached_study_writes_same_files(tiny_text: str, tmp_path: Path) -> None:
    study = validated(apply_overrides(parse(tiny_text), ["training.steps=3", "processing.flip=0.5"]), roots=DataRoots())
    progress = []

    def listener(event: Any) -> None:
        if event.kind == "prepare":
            progress.append((event.done, event.of))

    assert not run_study(study, tmp_path / "plain", listener=listener).failed
    assert progress == []
    for name in ("first", "second"):
        assert not run_study(study, tmp_path / name, cache=tmp_path / "cache", listener=listener).failed
        assert files(tmp_path / name) == files(tmp_path / "plain")
        assert (tmp_path / name / "tiny/street-scenes/model-1/seed0/result.json").exists()
    parts = [(n, count) for count in (8, 2, 3, 3) for n in range(1, count + 1)]  # train, held-out labels, val, labels
    assert sorted(progress) == sorted(parts)


def test_cached_images_are_not_read_again(scenes: DatasetReader, tmp_path: Path, unread: list[str]) -> None:
    samples = scenes.split("train")
    DatasetContext(scenes, tmp_path).images("train", samples, PROCESSING, 0, labels=True)
    unread.clear()
    context = DatasetContext(scenes, tmp_path)
    images = context.images("train", samples[1:], PROCESSING, 0, labels=False)
    held = context.images("train", samples, PROCESSING, 0, labels=True)
    images.batch([(0, 0), (1, 1)])
    held.labels(2)
    most = context.most_frequent_class()
    assert unread == []
    assert most == DatasetContext(scenes).most_frequent_class()
    assert unread


def test_images_are_decoded_without_cache(
    scenes: DatasetReader, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    context = DatasetContext(scenes, tmp_path / "file")
    with caplog.at_level(logging.WARNING):
        for split in ("train", "val"):
            images = context.images(split, scenes.split(split), PROCESSING, 3)
            plain = DatasetContext(scenes).images(split, scenes.split(split), PROCESSING, 3)
            assert (images.batch([(0, 0)]).images == plain.batch([(0, 0)]).images).all()
    (record,) = caplog.records
    assert "is not writable: Not a directory; images are decoded in every run" in record.message
    assert record.message.endswith("Not a directory; images are decoded in every run instead")


def test_the_subset_differs_by_seed_and_the_held_out_images_do_not():
    everything = [Sample(Path("i"), Path("m"), f"{g}-{i}", f"{g}") for g in range(20) for i in range(5)]
    training = TrainingSection(steps=1, holdout=0.1, subset=0.5)
    parts = [split_train(everything, training, seed) for seed in (0, 1, 0)]
    assert parts[0] == parts[2]
    assert parts[0].held_out == parts[1].held_out == split_train(everything, replace(training, subset=1.0), 5).held_out
    assert parts[0].labeled != parts[1].labeled
    assert len(parts[0].labeled) == len(parts[1].labeled) == 45
    assert not {sample.group for sample in parts[0].labeled} & {sample.group for sample in parts[0].held_out}
