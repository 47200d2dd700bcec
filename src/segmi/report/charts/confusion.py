"""Confusion matrices: for every true class, what share of its pixels a method takes for which class."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from segmi.errors import DataError
from segmi.report.charts.spec import Chart, Choice, plain_text
from segmi.report.table1 import title_of
from segmi.statistics import StudyRuns

FEW = 14
"""Up to so many classes have their numbers written into the cells."""

SCALE = [
    [0, "var(--seq-0)"],
    [0.25, "var(--seq-1)"],
    [0.5, "var(--seq-2)"],
    [0.75, "var(--seq-3)"],
    [1, "var(--seq-4)"],
]


def confusion_chart(study: StudyRuns) -> Chart | None:
    """The reported networks' pooled counts over all seeds, each row a share of the true class; None without counts."""
    figures, datasets, methods, classes = {}, {}, {}, 0
    for dataset in study.plan.datasets:
        names = _classes(study, dataset)
        for method, label in study.plan.methods.items():
            counts = pooled_counts(study, dataset, method)
            if counts is not None and len(counts) == len(names):
                figures[f"{dataset}|{method}"] = _figure(counts, names)
                datasets[dataset], methods[method] = title_of(study, dataset), label
                classes = max(classes, len(names))
    if not figures:
        return None
    choices = (Choice("dataset", list(datasets.items())), Choice("model", list(methods.items())))
    notes = (
        "Rows are the truth, columns the prediction; a row adds up to 100 % of the pixels of its class, over all "
        "images and seeds. What is right lies on the diagonal.",
    )
    height = min(760, max(380, 26 * classes + 150))
    return Chart("confusion", "What is taken for what", figures, choices, notes, height)


def pooled_counts(study: StudyRuns, dataset: str, method: str) -> npt.NDArray[np.int64] | None:
    """The counts of a method's reported network, C×C, summed over images and seeds; None if no run kept any."""
    total: npt.NDArray[np.int64] | None = None
    for key, result in study.results.items():
        if (key.dataset, key.method) != (dataset, method):
            continue
        try:
            record = study.runs[key].confusion(str(result.get("reported_network")), str(result.get("protocol")))
        except DataError:
            continue
        pooled = record.pooled()
        if total is None or total.shape == pooled.shape:
            total = pooled if total is None else total + pooled
    return total


def _classes(study: StudyRuns, dataset: str) -> list[str]:
    cards = (result.get("dataset") or {} for result in study.results_of(dataset))
    return next(([str(name) for name in card["classes"]] for card in cards if card.get("classes")), [])


def _figure(counts: npt.NDArray[np.int64], names: list[str]) -> dict[str, Any]:
    sums = counts.sum(axis=1, keepdims=True)
    shares = np.divide(100.0 * counts, sums, out=np.full(counts.shape, np.nan), where=sums > 0)
    values = [[None if not np.isfinite(v) else round(float(v), 2) for v in row] for row in shares]
    heat: dict[str, Any] = {
        "type": "heatmap", "z": values, "x": [plain_text(n) for n in names], "y": [plain_text(n) for n in names],
        "zmin": 0, "zmax": 100, "colorscale": SCALE, "xgap": 1, "ygap": 1, "hoverongaps": False,
        "hovertemplate": "%{y} taken for %{x}: %{z:.1f} %<extra></extra>",
        "colorbar": {"ticksuffix": " %", "thickness": 12, "outlinewidth": 0},
    }  # fmt: skip
    if len(names) <= FEW:
        heat |= {"texttemplate": "%{z:.0f}", "textfont": {"size": 11}}
    layout = {
        "xaxis": {"title": {"text": "predicted"}, "tickangle": -50, "automargin": True, "showgrid": False, "ticks": ""},
        "yaxis": {
            "title": {"text": "truth"},
            "autorange": "reversed",
            "automargin": True,
            "showgrid": False,
            "ticks": "",
        },
    }
    return {"data": [heat], "layout": layout}
