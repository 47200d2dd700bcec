"""Mean, spread, number and best, against hand-computed values and the standard library."""

from __future__ import annotations

import statistics

import pandas as pd
import pytest

from segmi.metrics.scores import scores
from segmi.statistics import SCORES, best, summarize


def test_mean_sample_deviation_and_number() -> None:
    values = {("a", "m"): [0.1, 0.4, 0.7], ("a", "n"): [0.2], ("b", "m"): [None, 0.3]}
    rows = [{"dataset": d, "method": m, "mIoU": v} for (d, m), vs in values.items() for v in vs]
    table = summarize(pd.DataFrame(rows), "mIoU")
    assert table.loc[("a", "m"), "mean"] == pytest.approx(0.4)
    assert table.loc[("a", "m"), "sd"] == pytest.approx(statistics.stdev([0.1, 0.4, 0.7])) == pytest.approx(0.3)
    assert table["n"].tolist() == [3, 1, 1]
    assert pd.isna(table.loc[("a", "n"), "sd"])


def test_a_cell_without_any_value_is_left_out() -> None:
    rows = pd.DataFrame({"dataset": ["a"], "method": ["m"], "mIoU": [float("nan")]})
    assert summarize(rows, "mIoU").empty


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"a": 0.1, "b": 0.3, "c": 0.2}, {"b"}),
        ({"a": 0.30001, "b": 0.29999, "c": 0.1}, {"a", "b"}),
        ({"a": 0.30001, "b": 0.29999, "c": None}, set()),
        ({"a": 0.30006, "b": 0.30004}, {"a"}),
        ({"a": 0.0, "b": None, "c": float("nan")}, set()),
        ({}, set()),
    ],
)
def test_best_as_printed(values: dict[str, float | None], expected: set[str]) -> None:
    assert best(values) == expected


def test_the_list_of_scores_is_complete() -> None:
    computed = scores([[3, 1], [0, 4]])
    assert {score.name for score in SCORES} == set(computed) - {"IoU"}
    assert [score.table1 for score in SCORES if score.table1] == ["IoU", "Acc"]
