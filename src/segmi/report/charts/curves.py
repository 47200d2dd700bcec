"""Learning curves and diagnostics over training: a line per method, a band over its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from segmi.report.charts.spec import Chart, Choice, method_color, method_line, plain_text, rounded, thinned
from segmi.report.history import MEAN, Line, Series, histories
from segmi.report.table1 import title_of
from segmi.statistics import StudyRuns

LEARNING: Final = {
    "holdout/mIoU": "held-out mIoU",
    "holdout/pixel_accuracy": "held-out pixel accuracy",
    "train/loss": "training loss",
}
"""The quantities of the learning curves; every other one is a diagnostic."""

INFORMATION: Final = {
    "holdout/mutual_information": "held-out I(Y; Ŷ), most probable class",
    "holdout/mutual_information_share": "held-out I(Y; Ŷ) / H(Y)",
    "holdout/barber_agakov_bound": "held-out H(Y) - CE, at most I(X; Y)",
    "holdout/soft_confusion_mutual_information": "held-out I(Y; Ŷ), class drawn from the prediction",
    "holdout/conditional_mutual_information": "held-out I(X; Ŷ | Y), spread within classes",
    "holdout/region_information": "held-out I_G, windows of label and prediction",
    "holdout/jensen_shannon_divergence": "held-out I(K; Ŷ | X), how far networks are apart",
}
"""What the diagnostics of every run are called; those of losses and probes have the names that they gave them."""


BAND, FAINT, FEW = 0.16, 0.06, 6
"""How opaque bands are, and how opaque where there are more than so many."""


def curve_charts(study: StudyRuns) -> list[Chart]:
    """The learning curves, and the diagnostics where losses or probes left some."""
    found = {dataset: histories(study, dataset) for dataset in study.plan.datasets}
    names = list(dict.fromkeys(name for quantities in found.values() for name in quantities))
    learning = [name for name in LEARNING if name in names]
    general = [name for name in INFORMATION if name in names]  # every run has these, so they come first
    diagnostics = general + [name for name in names if name not in LEARNING and name not in general]
    charts = [
        _chart(study, found, learning, "curves", "Learning curves", (
            "The line is the mean over seeds, the band spans them. Held-out scores are measured on a part of the "
            "training images, never on those that Table 1 scores. Losses of different losses have different "
            "scales: compare the shape of their curves, not their height.",
        )),
        _chart(study, found, diagnostics, "diagnostics", "Information over training", (
            "What losses and probes show besides their value, averaged since the measurement before, in nats where "
            "it is an information. Only methods that measure a quantity have a line.",
        )),
    ]  # fmt: skip
    return [chart for chart in charts if chart is not None]


def _chart(
    study: StudyRuns,
    found: Mapping[str, Mapping[str, Mapping[str, list[Series]]]],
    names: Sequence[str],
    chart: str,
    title: str,
    notes: tuple[str, ...],
) -> Chart | None:
    figures, options = {}, {}
    for name in names:
        for part in _parts(found, name):
            known = LEARNING.get(name) or INFORMATION.get(name)
            text = (known or name.partition("/")[2] or name) + (f", {part}" if part else "")
            for dataset, quantities in found.items():
                series = quantities.get(name, {}).get(part)
                if series:
                    options[f"{name}#{part}"] = text
                    figures[f"{name}#{part}|{dataset}"] = _figure(study, series, text)
    if not figures:
        return None
    shown = [dataset for dataset in found if any(key.endswith(f"|{dataset}") for key in figures)]
    datasets = Choice("dataset", [(dataset, title_of(study, dataset)) for dataset in shown])
    return Chart(chart, title, figures, (Choice("quantity", list(options.items())), datasets), notes)


def _parts(found: Mapping[str, Mapping[str, Mapping[str, Any]]], name: str) -> list[str]:
    parts = list(dict.fromkeys(part for quantities in found.values() for part in quantities.get(name, {})))
    if name == "train/loss":  # its terms have other names in every method
        return [part for part in parts if not part]
    return sorted(parts, key=lambda part: (part != "", part != MEAN))


def _figure(study: StudyRuns, series: Sequence[Series], text: str) -> dict[str, Any]:
    methods = list(study.plan.methods)
    plain = [one for one in series if not one.variant]
    shown = plain if text == LEARNING["train/loss"] else list(series)
    several = {one.method for one in shown if sum(other.method == one.method for other in shown) > 1}
    traces: list[dict[str, Any]] = []
    for one in sorted(shown, key=lambda one: methods.index(one.method)):
        label = study.plan.methods[one.method] + (f", {one.variant}" if one.method in several else "")
        traces += _traces(one, methods.index(one.method), plain_text(label), BAND if len(shown) <= FEW else FAINT)
    layout = {
        "xaxis": {"title": {"text": "steps"}, "rangemode": "tozero", "tickformat": ",d"},
        "yaxis": {"title": {"text": plain_text(text)}},
        "hovermode": "x unified",
    }
    return {"data": traces, "layout": layout}


def _traces(series: Series, index: int, label: str, opacity: float) -> list[dict[str, Any]]:
    """Band and mean over the steps that all seeds have measured; single seeds where they go on alone."""
    common = sorted(set.intersection(*(set(line.steps) for line in series.lines)))
    group = {"legendgroup": label}
    line_style = {"color": method_color(index), "dash": method_line(index), "width": 2.2}
    if len(series.lines) == 1 or len(common) < 2:
        return [
            _line(line, label, group | {"showlegend": place == 0}, line_style)
            for place, line in enumerate(series.lines)
        ]
    tables = [dict(zip(line.steps, line.values, strict=True)) for line in series.lines]
    steps = [common[place] for place in thinned(len(common))]
    values = [[table[step] for table in tables] for step in steps]
    low, high = rounded([min(v) for v in values]), rounded([max(v) for v in values])
    band = {
        "type": "scatter", "mode": "lines", "x": [*steps, *reversed(steps)], "y": [*high, *reversed(low)],
        "fill": "toself", "fillcolor": method_color(index, opacity), "line": {"width": 0}, "hoverinfo": "skip",
        "showlegend": False, "name": f"{label}, range", **group,
    }  # fmt: skip
    mean = Line(-1, steps, [sum(v) / len(v) for v in values])
    beyond = [
        _line(Line(line.seed, rest[0], rest[1]), label, group | {"showlegend": False}, line_style | {"width": 1})
        for line in series.lines
        if (rest := _after(line, common[-1])) is not None
    ]
    return [band, _line(mean, label, group, line_style), *beyond]


def _after(line: Line, step: float) -> tuple[list[float], list[float]] | None:
    """What a seed measured from a step on, where it has gone further than another."""
    points = [(s, v) for s, v in zip(line.steps, line.values, strict=True) if s >= step]
    return ([s for s, _ in points], [v for _, v in points]) if len(points) > 1 else None


def _line(line: Line, label: str, group: Mapping[str, Any], style: Mapping[str, Any]) -> dict[str, Any]:
    places = thinned(len(line.steps))
    return {
        "type": "scatter",
        "mode": "lines" if len(places) > 1 else "markers",
        "name": label,
        "x": [line.steps[place] for place in places],
        "y": rounded([line.values[place] for place in places]),
        "line": dict(style),
        **group,
    }
