"""Cost chart: the score against training time, memory, energy or parameters."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any, Final

from segmi.report.charts.spec import Chart, Choice, error_bars, method_color, method_symbol, plain_text, rounded
from segmi.statistics import PRIMARY, StudyRuns, reported_score

COSTS: Final[Mapping[str, tuple[str, str, str, float]]] = {
    "time": ("training time, minutes", "training", "wall_seconds", 60),
    "memory": ("peak main memory, GiB", "usage", "peak_memory_bytes", 2**30),
    "gpu": ("peak GPU memory, GiB", "usage", "peak_device_memory_bytes", 2**30),
    "processor": ("processor energy, kJ", "usage", "processor_joules", 1e3),
    "energy": ("GPU energy, kJ", "usage", "gpu_joules", 1e3),
    "parameters": ("parameters of all trained networks, millions", "networks", "parameters", 1e6),
}
"""Text, section and field of a result, and the unit that its value is divided by."""


def cost_chart(study: StudyRuns) -> Chart | None:
    """Return a marker per method with its cost and score and their ranges over seeds; None without a finished run."""
    figures, costs, datasets = {}, {}, {}
    for name, (text, *_) in COSTS.items():
        for dataset in study.plan.datasets:
            traces = [_trace(study, dataset, method, index, name) for index, method in enumerate(study.plan.methods)]
            traces = [trace for trace in traces if trace is not None]
            if traces:
                costs[name], datasets[dataset] = text, study.title(dataset)
                x_axis = {"title": {"text": text}, "rangemode": "tozero"}
                layout = {"xaxis": x_axis, "yaxis": {"title": {"text": PRIMARY}}}
                figures[f"{name}|{dataset}"] = {"data": traces, "layout": layout}
    if not figures:
        return None
    choices = (Choice("cost", list(costs.items())), Choice("dataset", list(datasets.items())))
    notes = (
        "Higher and further left is better. Whiskers span the seeds. Times are wall-clock times and depend on other "
        "work on the machine.",
    )
    return Chart("cost", "Score against cost", figures, choices, notes)


def _trace(study: StudyRuns, dataset: str, method: str, index: int, name: str) -> dict[str, Any] | None:
    pairs = [
        (cost, float(score))
        for result in study.results_of(dataset, method)
        if (cost := _cost(result, name)) is not None and (score := reported_score(result, PRIMARY)) is not None
    ]
    if not pairs:
        return None
    costs, scores = [cost for cost, _ in pairs], [score for _, score in pairs]
    x, y, color = [statistics.fmean(costs)], [statistics.fmean(scores)], method_color(index)
    return {
        "type": "scatter", "mode": "markers", "name": plain_text(study.plan.methods[method]),
        "x": rounded(x), "error_x": error_bars(x, [(min(costs), max(costs))], color),
        "y": rounded(y), "error_y": error_bars(y, [(min(scores), max(scores))], color),
        "marker": {"color": color, "symbol": method_symbol(index), "size": 12},
    }  # fmt: skip


def _cost(result: Mapping[str, Any], name: str) -> float | None:
    _, section, key, unit = COSTS[name]
    value = (result.get(section) or {}).get(key)
    if section == "networks":
        value = sum(entry.get(key) or 0 for entry in result[section].values()) or None
    return float(value) / unit if isinstance(value, int | float) else None
