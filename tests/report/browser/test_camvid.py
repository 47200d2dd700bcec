"""The page of a real study on CamVid, of a few steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segmi.cli import main

pytestmark = pytest.mark.slow

STUDY = """
name: camvid-few
seeds: [0, 1]
baseline: model-1
datasets:
  camvid: {}
processing: {resize: 48, crop: 32}
training: {steps: 6, batch_size: 2, validate_every: 3, holdout: 0.02, precision: fp32}
methods:
  model-1:
    label: Model 1
    networks: {unet: {architecture: unet, width: 4}}
    loss: {cross_entropy: {}}
  model-2:
    label: Model 2
    networks: {unet: {architecture: unet, width: 4}}
    loss: {rmi_loss: {radius: 3}}
samples: 6
"""


@pytest.fixture(scope="module")
def camvid_report(camvid_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("camvid")
    (folder / "study.yaml").write_text(STUDY)
    runs = folder / "runs"
    command = ["study", "run", str(folder / "study.yaml"), "--root", str(camvid_root), "--runs", str(runs), "--quiet"]
    assert main(command) == 0
    return runs / "camvid-few" / "report"


def test_the_page_of_camvid(camvid_report: Path, opened: Callable[..., Any], width: int) -> None:
    found = opened(camvid_report, width)
    found.scroll_through()
    page = found.page
    assert {one.get_attribute("data-chart") for one in page.locator("[data-chart]").all()} == {
        "forest", "curves", "diagnostics", "cost", "classes", "confusion", "reliability", "sizes",
    }  # fmt: skip
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for view in ("errors", "confidence"):
        page.locator(f'#g-view label:has(input[value="{view}"])').click()
        found.row().locator(f'img[src*=".{view}.png"]').first.wait_for()
    found.row().locator('[data-method="model-2"]').click()
    page.locator("#viewer[open]").wait_for()
    page.keyboard.press("Escape")
    assert page.locator("#viewer[open]").count() == 0
