"""Forest plot of the differences to the baseline with their intervals, and chart of the score against the cost."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any, Final

from segmi.report.charts.spec import Chart, Options, chart_of, error_bars, method_style, plain_text, rounded
from segmi.report.summary import Statement, Summary, interval_text, signed
from segmi.statistics import LEVEL, PRIMARY, StudyRuns, reported_score

MARKS: Final = {
    "better": ("better", "var(--better)", "triangle-up"),
    "worse": ("worse", "var(--worse)", "triangle-down"),
    "same": ("not distinguishable", "var(--neutral)", "circle"),
    "none": ("no test: too few seeds", "var(--neutral)", "circle-open"),
}
"""Name, color and marker by kind of statement."""

# Height of a row in pixels, and of a row if there are at least `DENSE_FROM`.
ROW, DENSE_ROW, DENSE_FROM = 34, 24, 13

# Text, section and field of a result, and the unit that its value is divided by.
COSTS: Final[Mapping[str, tuple[str, str, str, float]]] = {
    "time": ("training time, minutes", "training", "wall_seconds", 60),
    "memory": ("peak main memory, GiB", "usage", "peak_memory_bytes", 2**30),
    "gpu": ("peak GPU memory, GiB", "usage", "peak_device_memory_bytes", 2**30),
    "processor": ("processor energy, kJ", "usage", "processor_joules", 1e3),
    "energy": ("GPU energy, kJ", "usage", "gpu_joules", 1e3),
    "parameters": ("parameters of all trained networks, millions", "networks", "parameters", 1e6),
}


def forest_chart(summary: Summary) -> Chart | None:
    """Return the differences over retraining and on new images; None if nothing is compared."""
    every = [*summary.statements, *summary.pooled]
    shown = [one for one in every if one.difference is not None]
    if not shown:
        return None
    positions, ticks, heads, line = {}, [], [], 0.0
    for title, statements in summary.by_dataset():
        heads.append((line, title))
        for one in statements:
            line += 1
            positions[id(one)] = line
            ticks.append((line, one.method))
        line += 1.35
    traces = [*(_retraining(kind, shown, positions) for kind in MARKS), _on_new_images(shown, positions)]
    height = int((ROW if len(every) < DENSE_FROM else DENSE_ROW) * line + 120)
    layout = {
        "xaxis": {"title": {"text": f"difference in {PRIMARY} to the baseline"}, "zeroline": True,
                  "zerolinewidth": 2, "tickformat": "+.3~f", "labelalias": {"+0": "0"}},
        "yaxis": {"tickvals": [y for y, _ in ticks], "ticktext": [plain_text(name) for _, name in ticks],
                  "range": [line - 0.7, -0.6], "fixedrange": True, "showgrid": False, "zeroline": False,
                  "automargin": True, "ticklen": 0},
        "annotations": [
            {"x": 0, "xref": "paper", "y": y, "yref": "y", "text": f"<b>{plain_text(title)}</b>",
             "showarrow": False, "xanchor": "left", "xshift": 4, "font": {"size": 13}, "bgcolor": "var(--card)"}
            for y, title in heads
        ] + [
            {"x": 0, "xref": "paper", "y": positions[id(one)], "yref": "y", "text": one.details,
             "showarrow": False, "xanchor": "left", "xshift": 4, "font": {"size": 11, "color": "var(--faint)"}}
            for one in every if one.difference is None
        ],
        "showlegend": True,
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "yref": "paper"},
        "margin": {"t": 44},
    }  # fmt: skip
    note = (
        f"Lines are {100 * (1 - LEVEL):g} % intervals. Thick markers: difference expected over retraining, on these "
        "images. Thin markers below: difference of these networks on new images of the same kind. Right of 0 the "
        "method scores higher than its baseline."
    )
    title = "Differences to the baseline with their intervals"
    figure = {"data": [trace for trace in traces if trace is not None], "layout": layout}
    return Chart("forest", title, {"": figure}, note, height=height)


def _retraining(kind: str, shown: list[Statement], positions: dict[int, float]) -> dict[str, Any] | None:
    rows = [one for one in shown if one.kind == kind]
    if not rows:
        return None
    name, color, symbol = MARKS[kind]
    differences = [one.difference or 0.0 for one in rows]
    return {
        "type": "scatter", "mode": "markers", "name": name,
        "x": differences, "y": [positions[id(one)] for one in rows],
        "error_x": error_bars(differences, [one.interval for one in rows], color, 2.5),
        "marker": {"color": color, "symbol": symbol, "size": 12, "line": {"width": 1.5, "color": color}},
        "text": [plain_text(f"{one.method} on {one.dataset}: {one.details}") for one in rows],
        "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip


def _on_new_images(shown: list[Statement], positions: dict[int, float]) -> dict[str, Any] | None:
    rows = [(one, new) for one in shown if (new := one.new_images) is not None and new.interval is not None]
    if not rows:
        return None
    differences = [new.difference for _, new in rows]
    texts = [
        f"{one.method} on new images: {signed(new.difference)}, {interval_text(new.interval)}, {new.groups} groups"
        for one, new in rows if new.interval
    ]  # fmt: skip
    return {
        "type": "scatter", "mode": "markers", "name": "on new images",
        "x": differences, "y": [positions[id(one)] + 0.27 for one, _ in rows],
        "error_x": error_bars(differences, [new.interval for _, new in rows], "var(--faint)", 1),
        "marker": {"color": "var(--faint)", "symbol": "line-ns-open", "size": 7},
        "text": [plain_text(text) for text in texts], "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip


def cost_chart(study: StudyRuns) -> Chart | None:
    """Return a marker per method with its cost and score and their ranges over seeds; None without a finished run."""
    figures: dict[Options, Any] = {}
    for name, (text, *_) in COSTS.items():
        for dataset in study.plan.datasets:
            traces = [_trace(study, dataset, method, name) for method in study.plan.methods]
            if traces := [trace for trace in traces if trace is not None]:
                x_axis = {"title": {"text": text}, "rangemode": "tozero"}
                layout = {"xaxis": x_axis, "yaxis": {"title": {"text": PRIMARY}}}
                figures[(name, text), (dataset, study.title(dataset))] = {"data": traces, "layout": layout}
    note = (
        "Higher and further left is better. Whiskers span the seeds. Times are wall-clock times and depend on other "
        "work on the machine."
    )
    return chart_of("cost", "Score against cost", ("cost", "dataset"), figures, note)


def _trace(study: StudyRuns, dataset: str, method: str, name: str) -> dict[str, Any] | None:
    pairs = [
        (cost, float(score))
        for result in study.results_of(dataset, method)
        if (cost := _cost(result, name)) is not None and (score := reported_score(result, PRIMARY)) is not None
    ]
    if not pairs:
        return None
    costs, scores = [cost for cost, _ in pairs], [score for _, score in pairs]
    x, y, style = [statistics.fmean(costs)], [statistics.fmean(scores)], method_style(study, method)
    return {
        "type": "scatter", "mode": "markers", "name": plain_text(study.plan.methods[method]),
        "x": rounded(x), "error_x": error_bars(x, [(min(costs), max(costs))], style.color),
        "y": rounded(y), "error_y": error_bars(y, [(min(scores), max(scores))], style.color),
        "marker": {"color": style.color, "symbol": style.symbol, "size": 12},
    }  # fmt: skip


def _cost(result: Mapping[str, Any], name: str) -> float | None:
    _, section, key, unit = COSTS[name]
    value = (result.get(section) or {}).get(key)
    if section == "networks":
        value = sum(e.get(key) or 0 for e in result[section].values() if "members" not in e) or None
    return float(value) / unit if isinstance(value, int | float) else None
