"""A small dataset, a cache folder, and a prepared split."""

from __future__ import annotations

import pytest

from segmi.datasets import open_dataset
from segmi.datasets.cache import IMAGES, entry_key, prepare


@pytest.fixture
def camvid(make):
    return open_dataset("camvid", make("camvid"))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "images"


@pytest.fixture
def store_of():
    """A function that prepares a split and returns its entry."""
    return _prepare


def _prepare(cache, dataset, split="train", columns=IMAGES, resize=12, resize_mode="exact", **options):
    samples = dataset.split(split)
    key = entry_key(dataset, split, samples, columns, resize=resize, resize_mode=resize_mode)
    return prepare(cache, dataset, samples, key, **options)
