"""Cost chart: the score against training time, memory, energy or parameters."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any, Final

from segmi.report.charts.spec import Chart, Choice, error_bars, method_color, method_symbol, plain_text, rounded
from segmi.statistics import PRIMARY, StudyRuns, reported_score

Reader = Callable[[Mapping[str, Any]], float | None]


def _field(section: str, name: str, unit: float) -> Reader:
    return lambda result: _scaled((result.get(section) or {}).get(name), unit)


def _parameters(result: Mapping[str, Any]) -> float | None:
    networks = result["networks"].values()
    return _scaled(sum(entry.get("parameters") or 0 for entry in networks) or None, 1e6)


COSTS: Final[Mapping[str, tuple[str, Reader]]] = {
    "time": ("training time, minutes", _field("training", "wall_seconds", 60)),
    "memory": ("peak main memory, GiB", _field("usage", "peak_memory_bytes", 2**30)),
    "gpu": ("peak GPU memory, GiB", _field("usage", "peak_device_memory_bytes", 2**30)),
    "processor": ("processor energy, kJ", _field("usage", "processor_joules", 1e3)),
    "energy": ("GPU energy, kJ", _field("usage", "gpu_joules", 1e3)),
    "parameters": ("parameters of all trained networks, millions", _parameters),
}


def cost_chart(study: StudyRuns) -> Chart | None:
    """Return a marker per method with its cost and score and their ranges over seeds; None without a finished run."""
    figures, costs, datasets = {}, {}, {}
    for name, (text, read) in COSTS.items():
        for dataset in study.plan.datasets:
            traces = [
                trace
                for index, method in enumerate(study.plan.methods)
                if (trace := _trace(study, dataset, method, index, read)) is not None
            ]
            if traces:
                costs[name], datasets[dataset] = text, study.title(dataset)
                layout = {
                    "xaxis": {"title": {"text": text}, "rangemode": "tozero"},
                    "yaxis": {"title": {"text": PRIMARY}},
                }
                figures[f"{name}|{dataset}"] = {"data": traces, "layout": layout}
    if not figures:
        return None
    choices = (Choice("cost", list(costs.items())), Choice("dataset", list(datasets.items())))
    notes = (
        "Higher and further left is better. Whiskers span the seeds. Times are wall-clock times and depend on other "
        "work on the machine.",
    )
    return Chart("cost", "Score against cost", figures, choices, notes)


def _trace(study: StudyRuns, dataset: str, method: str, index: int, read: Reader) -> dict[str, Any] | None:
    pairs = [
        (cost, float(score))
        for result in study.results_of(dataset, method)
        if (cost := read(result)) is not None and (score := reported_score(result, PRIMARY)) is not None
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


def _scaled(value: Any, unit: float) -> float | None:
    return float(value) / unit if isinstance(value, int | float) else None
