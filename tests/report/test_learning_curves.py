"""Learning curves: the columns of the reported network, a color per model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from segmi.report.charts.curve_charts import curve_charts
from segmi.report.drawing import COLORS, style, svg_text
from segmi.report.learning_curves import MEAN, histories, learning_curves
from segmi.statistics import collect


def test_the_column_of_the_reported_network_is_used(demo_runs: Path) -> None:
    study = collect(demo_runs)[0]
    series = histories(study, "street-scenes")["holdout/mIoU"][""]
    assert {one.method: len(one.lines) for one in series} == {"model-1": 2, "model-2": 2, "model-3": 2}
    steps, values = series[2].lines[0].steps, series[2].lines[0].values
    assert steps == [float(step) for step in range(25, 401, 25)]
    assert np.isclose(values[-1], 0.52 * (1 - np.exp(-400 / 120)))  # the U-Net's, not DeepLabV3's


def test_panels_lines_and_no_global_state(demo_runs: Path) -> None:
    before = dict(mpl.rcParams)
    with style():
        made = learning_curves(collect(demo_runs)[0])
        assert made is not None
        assert svg_text(made) == svg_text(made)
    assert len(made.axes) == 4
    for axes in made.axes:
        assert {line.get_color() for line in axes.get_lines()} == set(COLORS[:3])
        assert len(axes.get_lines()) == 9  # 3 models: two seeds and their mean
    assert dict(mpl.rcParams) == before


def test_measured_information_has_its_own_rows(fabricate: Callable[..., Any]) -> None:
    made = fabricate()
    made.all()
    for path in made.root.rglob("metrics.csv"):
        head, *rows = path.read_text().splitlines()
        network = next(name for name in head.split(",") if name.startswith("holdout/mIoU/")).rpartition("/")[2]
        added = [f"{row},{0.1 * number}" for number, row in enumerate(rows)]
        path.write_text("\n".join([f"{head},holdout/barber_agakov_bound/{network}", *added]) + "\n")
    with style():
        figure = learning_curves(collect(made.root)[0])
        assert figure is not None
    named = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert named == ["training loss", "held-out mIoU", "held-out H(Y) - CE, nats"]


def test_region_information_has_curves_by_class_and_mean(fabricate: Callable[..., Any]) -> None:
    made = fabricate()
    made.all()
    for path in made.root.rglob("metrics.csv"):
        head, *rows = path.read_text().splitlines()
        network = next(name for name in head.split(",") if name.startswith("holdout/mIoU/")).rpartition("/")[2]
        columns = ",".join(f"holdout/region_information/{network}/{name}" for name in ("road", "car"))
        added = [f"{row},{number},{3 * number}" for number, row in enumerate(rows)]
        path.write_text("\n".join([f"{head},{columns}", *added]) + "\n")
    chart = next(one for one in curve_charts(collect(made.root)[0]) if one.name == "diagnostics")
    quantity = "holdout/region_information"
    shown = chart.choices["quantity"]
    label = "held-out I_G, regions of label and prediction, "
    assert {shown[f"{quantity}#{part}"] for part in ("road", "car", MEAN)} == {
        label + part for part in ("road", "car", MEAN)
    }
    last = {
        part: figure["data"][-1]["y"][-1] / (len(figure["data"][-1]["y"]) - 1)
        for part in ("road", "car", MEAN)
        for figure in [next(f for key, f in chart.figures.items() if key.startswith(f"{quantity}#{part}|"))]
    }
    assert last == {"road": 1, "car": 3, MEAN: 2}


def test_no_metrics_no_figure(fabricate: Callable[..., Any]) -> None:
    made = fabricate()
    made.plan()
    assert learning_curves(collect(made.root)[0]) is None
