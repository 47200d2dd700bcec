"""A cache entry is complete or missing after every kill, change, truncation and refusal."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from segmi.datasets import open_dataset
from segmi.datasets.cache import LABELS, preparation
from segmi.datasets.cache.store import MANIFEST, Store
from segmi.datasets.loader import Unlabeled, training_batches
from segmi.datasets.processing import Processing
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.errors import DataError, EnvironmentProblem, UsageError


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "processing",
    [
        Processing(resize=12, crop=10, flip=0.5),
        Processing(resize=5, crop=4, resize_mode="shorter"),
        Processing(resize=None, crop=5),
        Processing(resize=None, crop=16, scale=(0.5, 2.0), flip=0.5, color=0.3),
        Processing(resize=9, crop=7, resize_mode="shorter", scale=(0.8, 1.5), flip=0.5, color=0.3, view_color=0.9),
    ],
    ids=["exact", "shorter", "original", "padded-scaled-colored", "everything"],
)
@pytest.mark.parametrize("name", ["camvid", "folder", "street-scenes"])
def test_the_same_pixels_as_without_a_cache(make, cache, name, processing, store_of):
    scenes = {"train": 6, "val": 1, "height": 20, "width": 28}
    dataset = open_dataset(name, **scenes) if name == "street-scenes" else open_dataset(name, make(name))
    samples = dataset.split("train")
    scale = {"resize": processing.resize, "resize_mode": processing.resize_mode}
    store = store_of(cache, dataset, **scale)
    labels = store_of(cache, dataset, columns=LABELS)
    kept = samples[::-1][:3]  # another order and fewer of them, as a hold-out leaves
    cached = SegmentationDataset(dataset, kept, processing, seed=3, prepared=store, labels=labels)
    plain = SegmentationDataset(dataset, kept, processing, seed=3, memory_bytes=0)
    alone = SegmentationDataset(dataset, kept, processing, seed=3, prepared=store)
    for index in range(len(kept)):
        for one in (cached, alone):
            assert torch.equal(one.labels(index), plain.labels(index))
            for a, b in zip(one[index], plain[index], strict=True):
                assert torch.equal(a, b)
                assert type(a) is type(b)
    assert cached.class_counts().tolist() == plain.class_counts().tolist()
    streams = [
        training_batches(
            p.with_label_noise(noise), batch_size=2, first=0, last=6, unlabeled=Unlabeled(p, 1, two_views=True)
        )
        for noise in (0.0, 0.5)
        for p in (cached, plain)
    ]
    for clean, other, noisy, likewise in zip(*streams, strict=True):
        for a, b in ((clean, other), (noisy, likewise)):
            assert torch.equal(a.images, b.images)
            assert torch.equal(a.labels, b.labels)
            assert all(torch.equal(one, two) for one, two in zip(a.views, b.views, strict=True))
            assert (a.names, a.groups) == (b.names, b.groups)


def test_images_of_different_sizes(make, cache, save, store_of):
    root = make("folder")
    save["image"](root / "images" / "0002.png", 5, (9, 31))
    save["mask"](root / "masks" / "0002.png", np.ones((9, 31)))
    dataset = open_dataset("folder", root, val=0)
    store = store_of(cache, dataset, resize=None)
    for row, sample in enumerate(dataset.split("train")):
        image, mask = dataset.read(sample)
        assert np.array_equal(store.array("images", row).transpose(1, 2, 0), image)
        assert np.array_equal(store.array("masks", row), mask)


def test_workers_map_the_files_and_start_only_if_useful(camvid, cache, store_of):
    store = store_of(cache, camvid)
    images = SegmentationDataset(camvid, camvid.split("train"), Processing(resize=12, crop=8), prepared=store)
    assert not images.needs_workers
    assert SegmentationDataset(camvid, camvid.split("train"), Processing(resize=12, crop=8)).needs_workers
    scaled = SegmentationDataset(
        camvid, camvid.split("train"), Processing(resize=12, crop=8, scale=(1, 2)), prepared=store
    )
    assert scaled.needs_workers
    assert len(pickle.dumps(store)) < 1000
    options = {"batch_size": 2, "first": 0, "last": 3}
    for a, b in zip(training_batches(scaled, **options), training_batches(scaled, **options, workers=1), strict=True):
        assert torch.equal(a.images, b.images)


def test_an_entry_is_built_once(camvid, cache, store_of):
    calls = []
    first = store_of(cache, camvid, progress=lambda done, of: calls.append((done, of)))
    assert calls == [(1, 2), (2, 2)]
    second = store_of(cache, camvid, progress=lambda done, of: calls.append((done, of)))
    assert len(calls) == 2
    assert first.folder == second.folder
    assert {path.name for path in files(cache)} == {"images.bin", "masks.bin", MANIFEST}
    counts = sum(np.bincount(camvid.read_mask(one).ravel(), minlength=256) for one in camvid.split("train"))
    assert np.array_equal(second.label_counts, counts)


@pytest.mark.parametrize("how", ["cut", "longer", "gone", "manifest", "other"])
def test_a_damaged_entry_is_reported_and_built_again(camvid, cache, caplog, how, store_of):
    store = store_of(cache, camvid)
    path = store.folder / ("images.bin" if how in ("cut", "longer", "gone") else MANIFEST)
    if how == "cut":
        os.truncate(path, 100)
    elif how == "longer":
        path.write_bytes(path.read_bytes() + b"x")
    elif how == "gone":
        path.unlink()
    elif how == "manifest":
        path.write_text(path.read_text()[:-20])
    else:
        path.write_text(path.read_text().replace(store.manifest["digest"], "0" * 32))
    with caplog.at_level(logging.WARNING):
        again = store_of(cache, camvid)
    assert f"the cache entry {store.folder} is damaged" in caplog.text
    again.verify()
    assert np.array_equal(
        again.array("masks", 1),
        Processing(resize=12, crop=1).resized(*camvid.read(camvid.split("train")[1])).mask.numpy(),
    )


def test_verify_finds_flipped_bits(camvid, cache, store_of):
    store = store_of(cache, camvid)
    store.verify()
    path = store.folder / "masks.bin"
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.write_bytes(data)
    with pytest.raises(Exception, match=r"masks.bin: expected the checksum of the manifest, got another"):
        Store(store.folder).verify()


def test_an_outdated_entry_is_built_again_and_removed(camvid, cache, save, caplog, store_of):
    old = store_of(cache, camvid)
    path = camvid.split("train")[0].image
    save["image"](path, 77)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    with caplog.at_level(logging.WARNING):
        new = store_of(cache, camvid)
    assert "the files of camvid, train, have changed and are prepared again" in caplog.text
    assert not old.folder.exists()
    assert old.array("images", 0).shape == (3, 12, 12)  # open entries stay readable
    assert not np.array_equal(new.array("images", 0), old.array("images", 0))
    assert np.array_equal(new.array("images", 1), old.array("images", 1))


def test_a_full_disk_is_reported_before_building(camvid, cache, monkeypatch, store_of):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1000, 500, 500))
    with pytest.raises(EnvironmentProblem, match=r"expected 1 kB of disk space for 2 .*, got 500 B") as caught:
        store_of(cache, camvid)
    assert "--cache none" in str(caught.value.remedy)
    assert files(cache) == []


def test_disk_space_is_estimated_for_different_sizes(camvid, cache, monkeypatch, store_of):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1000, 900, 100))
    with pytest.raises(EnvironmentProblem, match=f"expected {2 * 4 * 6 * 8} B of disk space"):
        store_of(cache, camvid, resize=None)


def test_a_full_disk_leaves_no_partial_entry(camvid, cache, monkeypatch, store_of):
    def full(self, arrays, counts):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(preparation.StoreWriter, "add", full)
    with pytest.raises(EnvironmentProblem, match="no space left to write"):
        store_of(cache, camvid)
    assert files(cache) == []


def test_disk_filled_by_another_process_while_building(camvid, small_disk, store_of):
    """The estimate found room; a disk that fills up afterwards leaves no partial entry."""
    cache = small_disk / "images"

    def fill(done, of):
        with (small_disk / "other").open("wb", buffering=0) as other, contextlib.suppress(OSError):
            while True:
                other.write(bytes(4096))

    with pytest.raises(EnvironmentProblem, match="no space left"):
        store_of(cache, camvid, resize=400, progress=fill)
    assert [path.name for path in files(small_disk)] == ["other"]
    (small_disk / "other").unlink()
    store_of(cache, camvid, resize=400).verify()


@pytest.fixture
def closed(request, tmp_path):
    """A folder, and what closes it: from then on it may be looked at only."""
    if os.geteuid() == 0:  # who may write anywhere but to a file system that is closed
        folder = request.getfixturevalue("small_disk")
        yield folder, lambda: subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        return
    changed: list[Path] = []

    def close():
        changed.extend([tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())])
        for path in changed:
            path.chmod(0o555)

    yield tmp_path, close
    for path in changed:
        path.chmod(0o755)


def test_a_read_only_cache(camvid, closed, store_of):
    folder, close = closed
    cache = folder / "images"
    store_of(cache, camvid, split="val")
    close()
    assert len(store_of(cache, camvid, split="val")) == 2  # reading needs no permission to write
    with pytest.raises(EnvironmentProblem, match=r"Permission denied|Read-only file system"):
        store_of(cache, camvid)


def test_a_file_in_the_way_of_the_cache(camvid, tmp_path, store_of):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match=r"the cache .* is not writable: Not a directory"):
        store_of(tmp_path / "file" / "images", camvid)


def test_all_bad_files_are_named(camvid, cache, store_of):
    paths = [sample.image for sample in camvid.split("train")]
    for path in paths:
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match="2 of 2 images of camvid cannot be read") as caught:
        store_of(cache, camvid)
    assert all(str(path) in caught.value.message for path in paths)
    assert files(cache) == []


def test_a_single_bad_file_keeps_its_message(camvid, cache, store_of):
    path = camvid.split("train")[1].image
    path.write_bytes(b"")
    with pytest.raises(DataError, match=f"{path.name}: expected an image, got an empty file"):
        store_of(cache, camvid)


def test_a_cache_inside_the_dataset_is_refused(camvid, store_of):
    with pytest.raises(UsageError, match="expected a cache outside the dataset's folder"):
        store_of(camvid.root / "cache", camvid)
    assert not (camvid.root / "cache").exists()
