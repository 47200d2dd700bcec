"""All networks with all scores, and IoU per class."""

from __future__ import annotations

from typing import Any

import pytest

from segmi.report.table_networks import table_classes, table_networks
from segmi.statistics import collect


def test_every_network_and_the_constant_prediction(demo_runs: Any) -> None:
    table = table_networks(collect(demo_runs)[0])
    assert [row.labels[1:] for row in table.rows[:5]] == [
        ("Model 1", "U-Net ●", "1.94 M"),
        ("Model 2", "U-Net ●", "1.94 M"),
        ("Model 3", "U-Net ●", "1.94 M"),
        ("Model 3", "DeepLabV3", "39.63 M"),
        ("Constant prediction", "", "0"),
    ]
    assert len(table.rows) == 10
    deeplab = dict(zip(table.columns, (cell.plain() for cell in table.rows[3].cells), strict=True))
    # (0.52 + 0.05 + 0.54 + 0.05) / 2; micro IoU is 0.8 × 0.82
    assert deeplab["mIoU"] == "0.5800 ± 0.0141"
    assert deeplab["micro IoU"] == "0.6560 ± 0.0000"
    assert deeplab["absent"] == "1"
    assert table.rows[4].cells[0].plain() == "0.0500"
    assert table.rows[4].muted


def test_iou_per_class(demo_runs: Any) -> None:
    table = table_classes(collect(demo_runs)[0], "object-scenes")
    assert [row.labels[0] for row in table.rows] == ["background", "aeroplane", "cat", "sheep"]
    # 4 classes: factors 1.3, 1.0, 0.7 and absent; Model 1 has mIoU 0.60 and 0.62
    assert [row.cells[0].value for row in table.rows] == pytest.approx([0.61 * 1.3, 0.61, 0.61 * 0.7, None])
    assert [row.cells[2].bold for row in table.rows] == [True, True, True, False]
    assert table.rows[3].cells[0].plain() == "–"
