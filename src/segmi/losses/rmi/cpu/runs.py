"""Label maps as runs: stretches of a row that hold one class. All that is done with labels is done at their ends."""

from __future__ import annotations

from typing import Any

import numpy as np

from segmi.losses.rmi.cpu.compiling import allocating, compiled

IGNORE_INDEX, UNKNOWN = 0, 1  # the first two slots of an image's runs; class c is in slot c + 2


@compiled
def _slot(label: Any, ignore_index: int, classes: int) -> int:
    if label == ignore_index:
        return IGNORE_INDEX
    return label + 2 if 0 <= label < classes else UNKNOWN


@compiled
def count_runs(labels: Any, ignore_index: int, classes: int, counts: Any, pixels: Any) -> None:
    """Count the runs and pixels of one H×W image into ``counts[slot]`` and ``pixels[slot]``."""
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
def list_runs(labels: Any, ignore_index: int, classes: int, first: Any, runs: Any) -> None:
    """Write (row, begin, end) of every run, by slot and then by row; ``first[slot]`` is where a slot begins."""
    height, width = labels.shape
    place = first.copy()
    for r in range(height):
        row = labels[r]
        begin = 0
        for k in range(1, width + 1):
            if k == width or row[k] != row[begin]:
                slot = _slot(np.int64(row[begin]), ignore_index, classes)
                at = place[slot]
                runs[at, 0], runs[at, 1], runs[at, 2] = r, begin, k
                place[slot] = at + 1
                begin = k


@compiled
def index_rows(runs: Any, begin: int, end: int, rows: Any) -> None:
    """``rows[r]``: the first of the runs begin … end - 1 that is in row r or below; H + 1 of them."""
    at = begin
    for r in range(len(rows)):
        while at < end and runs[at, 0] < r:
            at += 1
        rows[r] = at
