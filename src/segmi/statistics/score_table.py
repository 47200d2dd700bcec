"""List of scores, the table of all scores of a study, and its summary over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from segmi.records import RunKey
from segmi.statistics.study_runs import StudyRuns

DIGITS: Final = 4  # decimals of a score, as in the paper; scores that are equal at these decimals are ties


@dataclass(frozen=True)
class Score:
    """A scalar score of a result."""

    name: str  # key in the scores of ``result.json``, computed by `segmi.metrics.scores`
    label: str  # column in the table of all networks
    description: str  # noun phrase for the notes below tables
    table1: str | None = None  # column in Table 1; None for scores that are not part of it
    is_count: bool = False  # a whole number instead of a fraction; it has no best value


SCORES: Final = (
    Score("mIoU", "mIoU", "the mean over classes of the intersection over union", table1="IoU"),
    Score("pixel_accuracy", "pixel acc.", "the pixel accuracy", table1="Acc"),
    Score("mean_accuracy", "mean acc.", "the mean over classes of the recall"),
    Score("micro_IoU", "micro IoU", "the intersection over union of the summed counts of all classes"),
    Score("binary_IoU", "binary IoU", "the mean over classes of TP / (TP + FP + FN), as printed in the paper"),
    Score("binary_accuracy", "binary acc.", "the mean over classes of (TP + TN) / all, as printed in the paper"),
    Score("absent_classes", "absent", "the number of classes in neither truth nor prediction, which are left out of "
          "the means", is_count=True),
)  # fmt: skip
"""Every scalar score in the order of the tables: the only list that a new column changes."""


def run_scores(study: StudyRuns) -> pd.DataFrame:
    """Return the scores of all finished runs: one row per run, network and protocol.

    Columns: study, dataset, method, seed, network, reported, main (the protocol of Table 1), protocol, architecture,
    parameters, and the names of `SCORES`.
    """
    rows: list[dict[str, Any]] = []
    for key, result in study.results.items():
        for network, entry in result["networks"].items():
            for protocol, scores in entry.get("scores", {}).items():
                rows.append({
                    **key._asdict(), "network": network, "reported": network == result.get("reported_network"),
                    "main": protocol == result.get("protocol"), "protocol": protocol,
                    "architecture": entry.get("architecture"), "parameters": entry.get("parameters"),
                    **{score.name: scores.get(score.name) for score in SCORES},
                })  # fmt: skip
    names = [score.name for score in SCORES]
    columns = [*RunKey._fields, "network", "reported", "main", "protocol", "architecture", "parameters", *names]
    frame = pd.DataFrame(rows, columns=columns)
    # Missing scores become NaN, which pandas skips in means and counts.
    frame[names] = frame[names].astype(float)
    return frame


def summarize(scores: pd.DataFrame, score: str, by: tuple[str, ...] = ("dataset", "method")) -> pd.DataFrame:
    """Return mean, sample standard deviation (n − 1) and number of one score over seeds.

    Args:
        scores: rows of `run_scores`, filtered by network and protocol.
        score: the column to summarize; missing values are ignored.
        by: the columns that identify a cell.

    Returns: a row per cell with mean, sd (NaN for one seed) and n.

    Example:
        >>> frame = pd.DataFrame({"dataset": ["a"] * 2, "method": ["m"] * 2, "mIoU": [0.5, 0.7]})
        >>> summarize(frame, "mIoU").round(4).values.tolist()
        [[0.6, 0.1414, 2.0]]
    """
    cells = scores.groupby(list(by), sort=False)[score].agg(mean="mean", sd="std", n="count")
    return cells[cells["n"] > 0]


def best(values: Mapping[str, float | None], digits: int = DIGITS) -> set[str]:
    """Return the names of the highest value; values that are equal at ``digits`` decimals are ties.

    None is best if all are equal, as for a single value.

    Example:
        >>> sorted(best({"a": 0.50001, "b": 0.50004, "c": 0.4, "d": None}))
        ['a', 'b']
        >>> best({"a": 0.5}), best({"a": 0.5, "b": 0.5})
        (set(), set())
    """
    # Compare texts, so that values that print equal are ties.
    shown = {name: f"{v:.{digits}f}" for name, v in values.items() if v is not None and not math.isnan(v)}
    top = max(shown.values(), key=float, default="")
    return {name for name, text in shown.items() if text == top} if len({*shown.values()}) > 1 else set()
