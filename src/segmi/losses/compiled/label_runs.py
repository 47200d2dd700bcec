"""Label maps as runs: maximal stretches of one row with the same label. Sums over labels need only their ends."""

from __future__ import annotations

from typing import Any

import numpy as np

from segmi.losses.compiled.runtime import allocating, compiled

IGNORED, UNKNOWN = 0, 1  # the first two slots of an image's runs; class c has slot c + 2


@compiled
def _slot(label: Any, ignore_index: int, classes: int) -> int:
    if label == ignore_index:
        return IGNORED
    return label + 2 if 0 <= label < classes else UNKNOWN


@compiled
def _count_runs(labels: Any, ignore_index: int, classes: int, counts: Any, pixels: Any) -> None:
    # Count runs and pixels of one H×W label map into ``counts[slot]`` and ``pixels[slot]``
    height, width = labels.shape
    for r in range(height):
        row = labels[r]
        begin = 0
        for k in range(1, width + 1):
            if k == width or row[k] != row[begin]:
                slot = _slot(np.int64(row[begin]), ignore_index, classes)
                counts[slot] += 1
                pixels[slot] += k - begin
                begin = k


@allocating
def _write_runs(labels: Any, ignore_index: int, classes: int, first: Any, runs: Any) -> None:
    # Write (row, begin, end) of every run, by slot and then by row; ``first[slot]`` is where a slot begins
    height, width = labels.shape
    position = first.copy()
    for r in range(height):
        row = labels[r]
        begin = 0
        for k in range(1, width + 1):
            if k == width or row[k] != row[begin]:
                slot = _slot(np.int64(row[begin]), ignore_index, classes)
                at = position[slot]
                runs[at, 0], runs[at, 1], runs[at, 2] = r, begin, k
                position[slot] = at + 1
                begin = k


@allocating
def find_runs(labels: Any, ignore_index: int, classes: int) -> Any:
    """Return the runs of one H×W label map.

    Returns: ``runs``: (row, begin, end) of every run, by slot and then by row; ``first``: slots + 1, the index of the
        first run of every slot; ``pixels``: the number of pixels of every slot.
    """
    counts, pixels = np.zeros(classes + 2, np.int64), np.zeros(classes + 2, np.int64)
    _count_runs(labels, ignore_index, classes, counts, pixels)
    first = np.zeros(classes + 3, np.int64)
    for slot in range(classes + 2):
        first[slot + 1] = first[slot] + counts[slot]
    runs = np.empty((first[classes + 2], 3), np.int32)
    _write_runs(labels, ignore_index, classes, first, runs)
    return runs, first, pixels


@compiled
def index_rows(runs: Any, begin: int, end: int, rows: Any) -> None:
    """Write to ``rows[r]``, of length H + 1, the first of the runs begin … end - 1 that is in row r or below."""
    at = begin
    for r in range(len(rows)):
        while at < end and runs[at, 0] < r:
            at += 1
        rows[r] = at
