"""Labels that are wrong on purpose, to see which loss minds."""

from __future__ import annotations

import numpy as np

from segmi.datasets.reader import Pixels


def noisy_labels(labels: Pixels, share: float, *, classes: int, seed: int) -> Pixels:
    """Labels of which a share has become another class, pixel by pixel, all others equally likely.

    Symmetric noise: ``P(ỹ = y) = 1 - share``, ``P(ỹ = c) = share / (C - 1)`` for every other class c. Ignored stays ignored.

    Args:
        labels: H×W uint8.
        share: of the pixels that are made wrong, in [0, 1).
        classes: C, two or more.
        seed: of the choice.

    Example:
        >>> noisy_labels(np.zeros((1, 6), np.uint8), 0.5, classes=3, seed=0).tolist()
        [[0, 2, 2, 2, 0, 0]]
    """
    rng = np.random.default_rng(seed)
    wrong = (rng.random(labels.shape) < share) & (labels < classes)
    steps = rng.integers(1, classes, labels.shape)
    return np.where(wrong, (labels + steps) % classes, labels).astype(np.uint8)
