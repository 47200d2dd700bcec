import hashlib

import numpy as np
import pytest

from segmi.datasets.reader import DatasetReader


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def shares(dataset: DatasetReader, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Per id: the share of all pixels, and the share of images that show it."""
    samples = dataset.split(split)
    counts = np.stack([np.bincount(dataset.read_mask(sample).ravel(), minlength=256) for sample in samples])
    return counts.sum(0) / counts.sum(), (counts > 0).mean(0)


@pytest.fixture(name="digest")
def _digest():
    return digest


@pytest.fixture(name="shares")
def _shares():
    return shares
