"""The same images for every model, and a legend of the classes in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from segmi.errors import RunError
from segmi.report.predictions_figure import prediction_rows
from segmi.statistics import collect


def test_rows_and_legend(demo_runs: Path) -> None:
    images = prediction_rows(collect(demo_runs)[0], "object-scenes")
    assert images is not None
    assert [name for name, _ in images.rows] == ["val_0000", "val_0001"]
    assert [tile.title for tile in images.rows[0][1]] == ["Image", "Ground truth", "Model 1", "Model 2", "Model 3"]
    assert images.legend[0] == ("background", (0, 0, 0))
    assert images.legend[-1] == ("ignored", (255, 255, 255))
    shown = {
        tuple(c) for _, tiles in images.rows for t in tiles[1:] for c in np.unique(t.pixels.reshape(-1, 3), axis=0)
    }
    assert {color for _, color in images.legend} == shown


def test_classes_that_are_not_shown_are_not_in_the_legend(demo_runs: Path) -> None:
    study = collect(demo_runs)[0]
    one, two = prediction_rows(study, "street-scenes", rows=1), prediction_rows(study, "street-scenes", rows=2)
    assert one is not None
    assert two is not None
    assert set(one.legend) <= set(two.legend)
    assert len(one.rows) == 1


def test_large_images_shrink_without_new_colors(demo_runs: Path) -> None:
    study = collect(demo_runs)[0]
    small, full = prediction_rows(study, "street-scenes", largest=40), prediction_rows(study, "street-scenes")
    assert small is not None
    assert full is not None
    for (_, a), (_, b) in zip(small.rows, full.rows, strict=True):
        assert max(a[1].pixels.shape) == 40
        assert {tuple(c) for c in a[1].pixels.reshape(-1, 3)} <= {tuple(c) for c in b[1].pixels.reshape(-1, 3)}


def test_a_failed_model_has_a_placeholder(fabricate: Callable[..., Any]) -> None:
    made = fabricate(seeds=(0,))
    made.plan()
    made.run("street-scenes", "model-1", 0)
    made.fail("street-scenes", "model-2", 0, RunError("no"))
    study = collect(made.root)[0]
    images = prediction_rows(study, "street-scenes")
    assert images is not None
    assert [tile.reason for tile in images.rows[0][1]] == ["", "", "", "failed", "missing"]
    assert prediction_rows(study, "object-scenes") is None
