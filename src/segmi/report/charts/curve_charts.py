"""Charts over training: learning curves and diagnostics, a line per method with a band over its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from segmi.report.charts.spec import Chart, MethodStyle, method_style, plain_text, rounded, subsample
from segmi.report.learning_curves import MEAN, Line, Series, histories
from segmi.statistics import StudyRuns

LEARNING: Final = {
    "holdout/mIoU": "held-out mIoU",
    "holdout/pixel_accuracy": "held-out pixel accuracy",
    "train/loss": "training loss",
}
"""Quantities of the learning curves; all others are diagnostics."""

INFORMATION: Final = {
    "holdout/mutual_information": "held-out I(Y; Ŷ), predicted class",
    "holdout/mutual_information_share": "held-out I(Y; Ŷ) / H(Y)",
    "holdout/barber_agakov_bound": "held-out H(Y) - CE, at most I(X; Y)",
    "holdout/soft_confusion_mutual_information": "held-out I(Y; Ŷ), sampled class",
    "holdout/conditional_mutual_information": "held-out I(X; Ŷ | Y), spread within classes",
    "holdout/region_information": "held-out I_G, regions of label and prediction",
    "holdout/jensen_shannon_divergence": "held-out I(K; Ŷ | X), disagreement of networks",
}
"""Labels of the diagnostics of every run; losses and probes name their own diagnostics."""

# Opacity of bands, and opacity if there are more than `MOST_BANDS`.
BAND, FAINT_BAND, MOST_BANDS = 0.16, 0.06, 6
# Series by dataset, quantity and part.
_Histories = Mapping[str, Mapping[str, Mapping[str, Sequence[Series]]]]


def curve_charts(study: StudyRuns) -> list[Chart]:
    """Return the learning curves, and the diagnostics if there are any."""
    by_dataset = {dataset: histories(study, dataset) for dataset in study.plan.datasets}
    names = list(dict.fromkeys(name for quantities in by_dataset.values() for name in quantities))
    learning = [name for name in LEARNING if name in names]
    general = [name for name in INFORMATION if name in names]  # every run has them
    diagnostics = general + [name for name in names if name not in LEARNING and name not in general]
    charts = [
        _chart(study, by_dataset, learning, "curves", "Learning curves",
            "Lines are means over seeds, bands span the seeds. Held-out scores are measured on a part of the training "
            "images, not on the images of Table 1. Different losses have different scales: compare the shapes of "
            "their curves, not their values."),
        _chart(study, by_dataset, diagnostics, "diagnostics", "Diagnostics",
            "Quantities measured by losses and probes, averaged since the previous measurement; information is in "
            "nats. Only methods that measure a quantity have a line."),
    ]  # fmt: skip
    return [chart for chart in charts if chart is not None]


def _chart(
    study: StudyRuns, by_dataset: _Histories, names: Sequence[str], chart: str, title: str, note: str
) -> Chart | None:
    figures, options = {}, {}
    for name in names:
        for part in _parts(by_dataset, name):
            known = LEARNING.get(name) or INFORMATION.get(name)
            text = (known or name.partition("/")[2] or name) + (f", {part}" if part else "")
            for dataset, quantities in by_dataset.items():
                series = quantities.get(name, {}).get(part)
                if series:
                    options[f"{name}#{part}"] = text
                    figures[f"{name}#{part}|{dataset}"] = _figure(study, series, text)
    if not figures:
        return None
    shown = [dataset for dataset in by_dataset if any(key.endswith(f"|{dataset}") for key in figures)]
    datasets = {dataset: study.title(dataset) for dataset in shown}
    return Chart(chart, title, figures, note, {"quantity": options, "dataset": datasets})


def _parts(by_dataset: _Histories, name: str) -> list[str]:
    parts = list(dict.fromkeys(part for quantities in by_dataset.values() for part in quantities.get(name, {})))
    if name == "train/loss":  # the names of its terms differ between methods
        return [part for part in parts if not part]
    return sorted(parts, key=lambda part: (part != "", part != MEAN))


def _figure(study: StudyRuns, series: Sequence[Series], text: str) -> dict[str, Any]:
    methods = list(study.plan.methods)
    plain = [one for one in series if not one.variant]
    shown = plain if text == LEARNING["train/loss"] else list(series)
    several = {one.method for one in shown if sum(other.method == one.method for other in shown) > 1}
    traces: list[dict[str, Any]] = []
    opacity = BAND if len(shown) <= MOST_BANDS else FAINT_BAND
    for one in sorted(shown, key=lambda one: methods.index(one.method)):
        label = study.plan.methods[one.method] + (f", {one.variant}" if one.method in several else "")
        traces += _traces(one, method_style(study, one.method), plain_text(label), opacity)
    x_axis = {"title": {"text": "steps"}, "rangemode": "tozero", "tickformat": ",d"}
    layout = {"xaxis": x_axis, "yaxis": {"title": {"text": plain_text(text)}}, "hovermode": "x unified"}
    return {"data": traces, "layout": layout}


def _traces(series: Series, style: MethodStyle, label: str, opacity: float) -> list[dict[str, Any]]:
    """Return band and mean over the common steps of all seeds, and a thin line where a seed continues alone."""
    common = sorted(set.intersection(*(set(line.steps) for line in series.lines)))
    group = {"legendgroup": label}
    line_style = {"color": style.color, "dash": style.dash, "width": 2.2}
    if len(series.lines) == 1 or len(common) < 2:
        return [_line(line, label, group | {"showlegend": i == 0}, line_style) for i, line in enumerate(series.lines)]
    tables = [dict(zip(line.steps, line.values, strict=True)) for line in series.lines]
    steps = [common[i] for i in subsample(len(common))]
    values = [[table[step] for table in tables] for step in steps]
    low, high = rounded([min(v) for v in values]), rounded([max(v) for v in values])
    band = {
        "type": "scatter", "mode": "lines", "x": [*steps, *reversed(steps)], "y": [*high, *reversed(low)],
        "fill": "toself", "fillcolor": f"{style.color}@{opacity:g}", "line": {"width": 0}, "hoverinfo": "skip",
        "showlegend": False, "name": f"{label}, range", **group,
    }  # fmt: skip
    mean = Line(-1, steps, [sum(v) / len(v) for v in values])
    beyond = [
        _line(Line(line.seed, rest, [table[s] for s in rest]), label, group | {"showlegend": False},
              line_style | {"width": 1})
        for line, table in zip(series.lines, tables, strict=True)
        if len(rest := [s for s in line.steps if s >= common[-1]]) > 1
    ]  # fmt: skip
    return [band, _line(mean, label, group, line_style), *beyond]


def _line(line: Line, label: str, group: Mapping[str, Any], style: Mapping[str, Any]) -> dict[str, Any]:
    points = subsample(len(line.steps))
    return {
        "type": "scatter", "mode": "lines" if len(points) > 1 else "markers", "name": label, "line": dict(style),
        "x": [line.steps[i] for i in points], "y": rounded([line.values[i] for i in points]), **group,
    }  # fmt: skip
