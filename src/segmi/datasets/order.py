"""Which images make up which batch, and which part of it is whose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segmi.randomness import key


def steps_per_epoch(images: int, batch_size: int, *, drop_last: bool) -> int:
    """The number of batches in one pass over ``images``."""
    return images // batch_size if drop_last else -(-images // batch_size)


def epoch_order(images: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which images are drawn in ``epoch``: a permutation keyed by (seed, epoch)."""
    return np.random.default_rng(key(seed, "order", epoch)).permutation(images)


@dataclass(frozen=True)
class Share:
    """Which part of every batch is meant: that of process ``rank`` of ``count``."""

    rank: int = 0
    count: int = 1

    def of(self, total: int) -> slice:
        """A run of ``total`` things; those of all processes are as even as can be, and in order make all of them.

        Example:
            >>> [Share(rank, 3).of(8) for rank in range(3)]
            [slice(0, 2, None), slice(2, 5, None), slice(5, 8, None)]
        """
        return slice(total * self.rank // self.count, total * (self.rank + 1) // self.count)


WHOLE = Share()
"""The share of a process that trains alone."""
