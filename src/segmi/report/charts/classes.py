"""IoU and boundary IoU class by class: a mark per method, with the range over its seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any, Final

from segmi.report.charts.spec import Chart, Choice, method_color, method_symbol, plain_text, rounded
from segmi.report.details import details_by_seed
from segmi.report.table1 import title_of
from segmi.statistics import StudyRuns
from segmi.statistics.pairing import reported_score

ROW, MARK, HIGHEST = 26, 7, 90
"""Pixels of a class with few methods, of a method within it, and of a class at most."""


def class_chart(study: StudyRuns) -> Chart | None:
    """Classes as rows, from the best to the worst by the first method; None without scores per class."""
    figures, datasets, measures, longest = {}, {}, {}, 0
    for dataset in study.plan.datasets:
        cards = ((result.get("dataset") or {}).get("classes") for result in study.results_of(dataset))
        names: Sequence[str] = next((classes for classes in cards if classes), [])
        for measure, values_of in MEASURES.items():
            found = {method: values_of(study, dataset, method, len(names)) for method in study.plan.methods}
            found = {method: values for method, values in found.items() if any(values)}
            if names and found:
                figures[f"{measure}|{dataset}"] = _figure(study, [str(name) for name in names], found, measure)
                datasets[dataset], measures[measure] = title_of(study, dataset), measure
                longest = max(longest, len(names))
    if not figures:
        return None
    notes = ("Classes are ordered by the mean over methods. Marks are means over seeds, whiskers span them.",)
    choices = (Choice("score", list(measures.items())), Choice("dataset", list(datasets.items())))
    return Chart(
        "classes",
        "Scores per class",
        figures,
        choices,
        notes,
        height=row_height(len(study.plan.methods)) * longest + 150,
    )


def row_height(methods: int) -> int:
    """Room for the marks of so many methods, in pixels.

    >>> row_height(3), row_height(10), row_height(50)
    (26, 70, 90)
    """
    return min(HIGHEST, max(ROW, MARK * methods))


def _values(study: StudyRuns, dataset: str, method: str, classes: int) -> list[list[float]]:
    """Per class the IoU of every seed that has one."""
    found: list[list[float]] = [[] for _ in range(classes)]
    for result in study.results_of(dataset, method):
        for index, value in enumerate((reported_score(result, "IoU") or [])[:classes]):
            if value is not None:
                found[index].append(float(value))
    return found


def _boundaries(study: StudyRuns, dataset: str, method: str, classes: int) -> list[list[float]]:
    """The same of the boundary IoU, where runs kept it."""
    found: list[list[float]] = [[] for _ in range(classes)]
    for one in details_by_seed(study, dataset, method):
        for index, value in enumerate(one.boundary_iou()[:classes]):
            if math.isfinite(value):
                found[index].append(float(value))
    return found


MEASURES: Final = {"IoU": _values, "boundary IoU": _boundaries}


def _figure(study: StudyRuns, names: list[str], found: dict[str, list[list[float]]], measure: str) -> dict[str, Any]:
    means = {method: [statistics.fmean(v) if v else None for v in values] for method, values in found.items()}
    every = [[v for m in means.values() if (v := m[index]) is not None] for index in range(len(names))]
    order = sorted(range(len(names)), key=lambda index: -statistics.fmean(every[index]) if every[index] else 1.0)
    methods = list(study.plan.methods)
    traces = []
    for method, values in found.items():
        index = methods.index(method)
        shift = (list(found).index(method) - (len(found) - 1) / 2) * min(0.22, 0.8 / len(found))
        rows = [(place + shift, means[method][c], values[c]) for place, c in enumerate(order) if values[c]]
        traces.append(
            {
                "type": "scatter", "mode": "markers", "name": plain_text(study.plan.methods[method]),
                "x": rounded([mean for _, mean, _ in rows]), "y": [y for y, _, _ in rows],
                "error_x": {
                    "type": "data", "symmetric": False, "thickness": 1.5, "width": 0, "color": method_color(index),
                    "array": rounded([max(v) - (mean or 0) for _, mean, v in rows]),
                    "arrayminus": rounded([(mean or 0) - min(v) for _, mean, v in rows]),
                },
                "marker": {"color": method_color(index), "symbol": method_symbol(index), "size": 9},
                "text": [plain_text(names[c]) for c in order if values[c]],
                "hovertemplate": "%{text}: %{x:.3f}<extra>%{fullData.name}</extra>",
            }
        )  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": measure}, "range": [-0.02, 1.02]},
        "yaxis": {"tickvals": list(range(len(names))), "ticktext": [plain_text(names[c]) for c in order],
                  "range": [len(names) - 0.4, -0.6], "automargin": True, "fixedrange": True, "zeroline": False},
    }  # fmt: skip
    return {"data": traces, "layout": layout}
