"""Mean, spread and number over seeds, and which value of a row is best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import pandas as pd

DIGITS: Final = 4
"""Scores are shown, and compared for ties, with the paper's four decimals."""


def summarize(scores: pd.DataFrame, score: str, by: tuple[str, ...] = ("dataset", "method")) -> pd.DataFrame:
    """Mean, sample standard deviation (n − 1) and number of one score over seeds.

    Args:
        scores: rows as `run_scores` gives them, already reduced to those that are meant (reported network, protocol).
        score: the column to summarize; missing values count nowhere.
        by: the columns that make a cell.

    Returns: a row per cell with columns mean, sd (NaN for one seed) and n.

    Example:
        >>> frame = pd.DataFrame({"dataset": ["a"] * 2, "method": ["m"] * 2, "mIoU": [0.5, 0.7]})
        >>> summarize(frame, "mIoU").round(4).values.tolist()
        [[0.6, 0.1414, 2.0]]
    """
    cells = scores.groupby(list(by), sort=False)[score].agg(mean="mean", sd="std", n="count")
    return cells[cells["n"] > 0]


def best(values: Mapping[str, float | None], digits: int = DIGITS) -> set[str]:
    """The names with the highest value as shown: values that look equal at ``digits`` decimals share the place.

    A value without a rival is no best.

    Example:
        >>> sorted(best({"a": 0.50001, "b": 0.50004, "c": 0.4, "d": None}))
        ['a', 'b']
        >>> best({"a": 0.5})
        set()
    """
    shown = {
        name: f"{value:.{digits}f}" for name, value in values.items() if value is not None and not math.isnan(value)
    }
    if len(shown) < 2:
        return set()
    top = max(shown.values(), key=float)
    return {name for name, text in shown.items() if text == top}
