"""Charts of the errors: scores per class, confusion matrices, reliability diagram and IoU by object size."""

from __future__ import annotations

import math
import statistics
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from segmi.records import DetailsRecord, RunFolder
from segmi.report.charts.spec import Chart, Options, chart_of, error_bars, method_style, plain_text, rounded
from segmi.report.table_networks import details_by_seed, pooled_details, reported_records
from segmi.statistics import StudyRuns, reported_score

_ROW, _MARK, _HIGHEST = 26, 7, 90  # pixels: least height of a class, height per method, greatest height of a class
_MOST_NUMBERS: Final = 14  # largest number of classes with numbers in the cells of a confusion matrix
_SCALE: Final = [[i / 4, f"var(--seq-{i})"] for i in range(5)]


def class_chart(study: StudyRuns) -> Chart | None:
    """Return scores per class, classes ordered by their mean over methods; None without scores per class."""
    figures: dict[Options, Any] = {}
    longest = 0
    for dataset in study.plan.datasets:
        names = study.classes(dataset)
        for measure in ("IoU", "boundary IoU"):
            by_method = {method: _scores(study, dataset, method, measure) for method in study.plan.methods}
            by_method = {method: values for method, values in by_method.items() if any(values)}
            if names and by_method:
                options = ((measure, measure), (dataset, study.title(dataset)))
                figures[options] = _class_figure(study, names, by_method, measure)
                longest = max(longest, len(names))
    note = "Classes are ordered by the mean over methods. Markers are means over seeds, whiskers span the seeds."
    height = row_height(len(study.plan.methods)) * longest + 150
    return chart_of("classes", "Scores per class", ("score", "dataset"), figures, note, height)


def row_height(methods: int) -> int:
    """Return the height in pixels of a class with the markers of all methods.

    >>> row_height(3), row_height(10), row_height(50)
    (26, 70, 90)
    """
    return min(_HIGHEST, max(_ROW, _MARK * methods))


def confusion_chart(study: StudyRuns) -> Chart | None:
    """Return confusion matrices of the reported networks in percent of the true class; None without counts."""
    figures: dict[Options, Any] = {}
    classes = 0  # the largest number of a dataset
    for dataset in study.plan.datasets:
        names = study.classes(dataset)
        for method, label in study.plan.methods.items():
            counts = pooled_counts(study, dataset, method)
            if counts is not None and len(counts) == len(names):
                figures[(dataset, study.title(dataset)), (method, label)] = _confusion_figure(counts, names)
                classes = max(classes, len(names))
    note = (
        "Rows are true classes, columns predicted classes. A row sums to 100 % of the pixels of its class, over all "
        "images and seeds. Correct pixels are on the diagonal."
    )
    height = min(760, max(380, 26 * classes + 150))
    return chart_of("confusion", "Confusion matrix", ("dataset", "model"), figures, note, height)


def pooled_counts(study: StudyRuns, dataset: str, method: str) -> npt.NDArray[np.int64] | None:
    """Return the confusion counts of the reported network, C×C, over images and seeds; None if no run has any."""
    counts = [one.pooled() for one in reported_records(study, dataset, method, RunFolder.confusion)]
    return sum((one for one in counts[1:] if one.shape == counts[0].shape), counts[0]) if counts else None


def _scores(study: StudyRuns, dataset: str, method: str, measure: str) -> list[list[float]]:
    """Return the scores of the seeds that have one, by class."""
    if measure == "IoU":
        seeds = [reported_score(result, "IoU") or [] for result in study.results_of(dataset, method)]
    else:
        seeds = [one.boundary_iou().tolist() for one in details_by_seed(study, dataset, method)]
    by_class = ([row[index] for row in seeds if index < len(row)] for index in range(len(study.classes(dataset))))
    return [[float(value) for value in values if value is not None and math.isfinite(value)] for values in by_class]


def _class_figure(
    study: StudyRuns, names: list[str], by_method: dict[str, list[list[float]]], measure: str
) -> dict[str, Any]:
    means = {method: [statistics.fmean(v) if v else None for v in values] for method, values in by_method.items()}
    by_class = [[v for m in means.values() if (v := m[index]) is not None] for index in range(len(names))]
    order = sorted(range(len(names)), key=lambda index: -statistics.fmean(by_class[index]) if by_class[index] else 1.0)
    traces = []
    for number, (method, values) in enumerate(by_method.items()):
        style = method_style(study, method)
        shift = (number - (len(by_method) - 1) / 2) * min(0.22, 0.8 / len(by_method))
        rows = [(row + shift, means[method][c], values[c], names[c]) for row, c in enumerate(order) if values[c]]
        bars = error_bars([mean or 0 for _, mean, _, _ in rows], [(min(v), max(v)) for *_, v, _ in rows], style.color)
        traces.append({
            "type": "scatter", "mode": "markers", "name": plain_text(study.plan.methods[method]),
            "x": rounded([mean for _, mean, _, _ in rows]), "y": [y for y, *_ in rows], "error_x": bars,
            "marker": {"color": style.color, "symbol": style.symbol, "size": 9},
            "text": [plain_text(name) for *_, name in rows],
            "hovertemplate": "%{text}: %{x:.3f}<extra>%{fullData.name}</extra>",
        })  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": measure}, "range": [-0.02, 1.02]},
        "yaxis": {"tickvals": list(range(len(names))), "ticktext": [plain_text(names[c]) for c in order],
                  "range": [len(names) - 0.4, -0.6], "automargin": True, "fixedrange": True, "zeroline": False},
    }  # fmt: skip
    return {"data": traces, "layout": layout}


def _confusion_figure(counts: npt.NDArray[np.int64], names: list[str]) -> dict[str, Any]:
    sums = counts.sum(axis=1, keepdims=True)
    shares = np.divide(100.0 * counts, sums, out=np.full(counts.shape, np.nan), where=sums > 0)
    values = [[None if not np.isfinite(v) else round(float(v), 2) for v in row] for row in shares]
    labels = [plain_text(name) for name in names]
    heat: dict[str, Any] = {
        "type": "heatmap", "z": values, "x": labels, "y": labels,
        "zmin": 0, "zmax": 100, "colorscale": _SCALE, "xgap": 1, "ygap": 1, "hoverongaps": False,
        "hovertemplate": "%{y} predicted as %{x}: %{z:.1f} %<extra></extra>",
        "colorbar": {"ticksuffix": " %", "thickness": 12, "outlinewidth": 0},
    }  # fmt: skip
    if len(names) <= _MOST_NUMBERS:
        heat |= {"texttemplate": "%{z:.0f}", "textfont": {"size": 11}}
    axis = {"automargin": True, "showgrid": False, "ticks": ""}
    layout = {
        "xaxis": {"title": {"text": "predicted"}, "tickangle": -50, **axis},
        "yaxis": {"title": {"text": "truth"}, "autorange": "reversed", **axis},
    }
    return {"data": [heat], "layout": layout}


def detail_charts(study: StudyRuns) -> list[Chart]:
    """Return both charts; empty if no run has details."""
    details = {
        dataset: {m: one for m in study.plan.methods if (one := pooled_details(study, dataset, m)) is not None}
        for dataset in study.plan.datasets
    }
    details = {dataset: records for dataset, records in details.items() if records}
    figures: dict[Options, Any] = {
        ((dataset, study.title(dataset)),): _reliability(study, one) for dataset, one in details.items()
    }
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
