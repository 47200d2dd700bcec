"""Images of several 16-bit bands in the cache: the same float pixels as without it."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from segmi.datasets.cache.preparation import Decoder
from segmi.datasets.cache.store import DamagedError, Store
from segmi.datasets.detection import propose
from segmi.datasets.processing import Processing
from segmi.datasets.segmentation_dataset import SegmentationDataset


@pytest.fixture
def dataset(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
    for number in range(5):
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 3000, (20, 24, 5)).astype(np.uint16)
        tifffile.imwrite(tmp_path / "data" / "images" / f"{number}.tif", pixels.transpose(2, 0, 1))
        labels = np.repeat(np.repeat(rng.integers(0, 2, (5, 6)), 4, 0), 4, 1).astype(np.uint8)
        Image.fromarray(labels).save(tmp_path / "data" / "masks" / f"{number}.png")
    return propose(tmp_path / "data").dataset


@pytest.mark.parametrize("resize", [None, 16])
def test_the_same_floats_as_without_a_cache(dataset, cache, store_of, resize):
    processing = Processing(resize=resize, crop=12, flip=0.5, scale=(0.5, 2.0), color=0.3)
    store = store_of(cache, dataset, resize=resize)
    samples = dataset.split("train")
    cached = SegmentationDataset(dataset, samples, processing, prepared=store)
    plain = SegmentationDataset(dataset, samples, processing)
    side = (20, 24) if resize is None else (16, 16)
    assert cached[0].image.shape == (5, *side)
    assert cached[0].image.dtype == torch.float32
    assert torch.equal(cached[1].image, plain[1].image)
    if resize is None:
        pixels = tifffile.imread(samples[0].image)
        low, high = np.array(dataset.image_format.value_range, np.float64).T[..., None, None]
        np.testing.assert_allclose(cached[0].image, (pixels - low) / (high - low), atol=1e-6)
    keys = [(0, 1), (1, 2), (2, 0)]
    batch = cached.batch(keys)
    assert batch.images.shape == (3, 5, 12, 12)
    assert torch.equal(batch.images, plain.batch(keys).images)
    store.verify()
    size = sum(path.stat().st_size for path in store.folder.glob("*.bin"))
    assert store.nbytes == size == len(samples) * (5 * 4 + 1) * side[0] * side[1]


def test_another_value_range_is_another_entry(dataset, cache, store_of):
    from dataclasses import replace

    first = store_of(cache, dataset, resize=16)
    dataset.image_format = replace(dataset.image_format, value_range=((0, 3000),))
    second = store_of(cache, dataset, resize=16)
    assert first.folder.parent != second.folder.parent
    assert Store(first.folder).array("images", 0).max() != second.array("images", 0).max()


def test_a_truncated_file_of_floats_is_damaged(dataset, cache, store_of):
    folder = store_of(cache, dataset, resize=16).folder
    (folder / "images.bin").write_bytes((folder / "images.bin").read_bytes()[:-4])
    with pytest.raises(DamagedError, match=r"images\.bin: expected 20,480 bytes, got 20,476"):
        Store(folder)


def test_the_expected_size_is_that_of_the_entry(dataset, cache, store_of):
    from segmi.datasets.cache import entry_key

    store = store_of(cache, dataset, resize=16)
    samples = dataset.split("train")
    key = entry_key(dataset, "train", samples, resize=16)
    assert Decoder(dataset, samples, key).expected_bytes() == store.nbytes
