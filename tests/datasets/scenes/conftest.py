import hashlib

import numpy as np
import pytest

from segmi.datasets.reader import DatasetReader


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def class_shares(dataset: DatasetReader, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return, by class id, the share of all pixels and the share of images that contain the class."""
    counts = np.stack([np.bincount(dataset.read_mask(s).ravel(), minlength=256) for s in dataset.split(split)])
    return counts.sum(0) / counts.sum(), (counts > 0).mean(0)


@pytest.fixture(name="digest")
def _digest():
    return digest


@pytest.fixture(name="class_shares")
def _class_shares():
    return class_shares
