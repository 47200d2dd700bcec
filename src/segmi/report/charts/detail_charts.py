"""Reliability diagram and IoU by object size."""

from __future__ import annotations

from typing import Any

import numpy as np

from segmi.records import DetailsRecord
from segmi.report.charts.spec import Chart, Options, chart_of, method_style, plain_text, rounded
from segmi.report.table_networks import pooled_details
from segmi.statistics import StudyRuns


def detail_charts(study: StudyRuns) -> list[Chart]:
    """Return both charts; empty if no run has details."""
    details = {
        dataset: {m: one for m in study.plan.methods if (one := pooled_details(study, dataset, m)) is not None}
        for dataset in study.plan.datasets
    }
    details = {dataset: records for dataset, records in details.items() if records}
    figures = {((dataset, study.title(dataset)),): _reliability(study, one) for dataset, one in details.items()}
    note = (
        "Top: accuracy of the pixels by confidence; on the diagonal a method is calibrated, below it overconfident. "
        "Bottom: distribution of the confidence. ECE: expected calibration error. All seeds are pooled."
    )
    charts = [
        chart_of("reliability", "Reliability diagram", ("dataset",), figures, note, height=520),
        _size_chart(study, details),
    ]
    return [chart for chart in charts if chart is not None]


def _reliability(study: StudyRuns, records: dict[str, DetailsRecord]) -> dict[str, Any]:
    diagonal = {
        "type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "hoverinfo": "skip", "showlegend": False,
        "line": {"color": "var(--faint)", "dash": "dot", "width": 1},
    }  # fmt: skip
    traces: list[dict[str, Any]] = [diagonal]
    for method, one in records.items():
        style = method_style(study, method)
        label = f"{plain_text(study.plan.methods[method])}, ECE {one.calibration_error():.3f}"
        bins = np.flatnonzero(one.pixels)
        centers = (np.arange(len(one.pixels)) + 0.5) / len(one.pixels)
        line = {"color": style.color, "dash": style.dash, "width": 2}
        share = 100 * one.pixels / max(one.pixels.sum(), 1)
        traces += [{
            "type": "scatter", "mode": "lines+markers", "name": label, "legendgroup": method, "line": line,
            "x": rounded((one.confidence[bins] / one.pixels[bins]).tolist()),
            "y": rounded((one.correct[bins] / one.pixels[bins]).tolist()),
            "marker": {"symbol": style.symbol, "size": 7, "color": style.color},
            "text": [f"{value:.2g} % of the pixels" for value in share[bins]],
            "hovertemplate": "confidence %{x:.2f}, accuracy %{y:.2f}<br>%{text}<extra>%{fullData.name}</extra>",
        }, {
            "type": "scatter", "mode": "lines", "name": label, "legendgroup": method, "showlegend": False,
            "x": rounded(centers.tolist()), "y": rounded(share.tolist()), "yaxis": "y2",
            "line": line | {"shape": "hvh", "width": 1.5},
            "hovertemplate": "%{y:.2g} % of the pixels<extra>%{fullData.name}</extra>",
        }]  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": "confidence"}, "range": [0, 1.01], "anchor": "y2"},
        "yaxis": {"title": {"text": "accuracy"}, "range": [0, 1.03], "domain": [0.32, 1]},
        "yaxis2": {"title": {"text": "pixels, %"}, "domain": [0, 0.22], "rangemode": "tozero", "anchor": "x"},
    }
    return {"data": traces, "layout": layout}


def _size_chart(study: StudyRuns, details: dict[str, dict[str, DetailsRecord]]) -> Chart | None:
    figures: dict[Options, Any] = {}
    for dataset, records in details.items():
        option = (dataset, study.title(dataset))
        figures[option, ("", "all classes")] = _sizes(study, records, None)
        for index, name in enumerate(study.classes(dataset)):
            if any(one.objects[index].any() for one in records.values() if index < len(one.objects)):
                figures[option, (name, name)] = _sizes(study, records, index)
    note = (
        "An object is a connected region of a class in the truth; its IoU is computed with the overlapping predicted "
        "regions of that class. Means over the objects of all images and seeds; hover for their number."
    )
    return chart_of("sizes", "IoU by object size", ("dataset", "class"), figures, note)


def _sizes(study: StudyRuns, records: dict[str, DetailsRecord], index: int | None) -> dict[str, Any]:
    traces, texts = [], []
    for method, one in records.items():
        style = method_style(study, method)
        numbers = one.objects.sum(axis=0) if index is None else one.objects[index]
        sums = one.object_iou.sum(axis=0) if index is None else one.object_iou[index]
        sizes = np.flatnonzero(numbers)
        texts = size_texts(len(numbers))
        traces.append({
            "type": "scatter", "mode": "lines+markers", "name": plain_text(study.plan.methods[method]),
            "x": sizes.tolist(), "y": rounded((sums[sizes] / numbers[sizes]).tolist()),
            "line": {"color": style.color, "dash": style.dash, "width": 2},
            "marker": {"symbol": style.symbol, "size": 8, "color": style.color},
            "text": [f"{int(n):,} objects" for n in numbers[sizes]],
            "hovertemplate": "IoU %{y:.3f}, %{text}<extra>%{fullData.name}</extra>",
        })  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": "pixels per object"}, "tickvals": list(range(len(texts))), "ticktext": texts,
                  "zeroline": False},
        "yaxis": {"title": {"text": "mean IoU of objects"}, "rangemode": "tozero"},
    }  # fmt: skip
    return {"data": traces, "layout": layout}


def size_texts(sizes: int) -> list[str]:
    """Return labels of the size classes.

    >>> size_texts(3)
    ['1–3', '4–15', '16 and more']
    """
    texts = [f"{4**k:,}–{4 ** (k + 1) - 1:,}" for k in range(sizes - 1)]
    return [*texts, f"{4 ** (sizes - 1):,} and more"]
