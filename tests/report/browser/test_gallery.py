"""The gallery and the enlarged image."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Open = Callable[..., Any]


def rows_of(report: Path, dataset: int = 0) -> list[dict[str, Any]]:
    text = (report / "assets" / "gallery.data.js").read_text(encoding="utf-8")
    data = json.loads(text.partition("window.segmi.galleries = ")[2].rstrip(";\n"))
    return list(data[dataset]["rows"])


def names(page: Any) -> list[str]:
    return list(page.locator("#g-rows h3").evaluate_all("(all) => all.map((h) => h.firstChild.textContent)"))


def test_views(report: Path, opened: Open, width: int) -> None:
    found = opened(report, width)
    page, row = found.page, found.row()
    row.scroll_into_view_if_needed()
    row.locator("img").first.wait_for()
    captions = ["Image", "Truth", "Model 1", "Model 2", "Model 3"]
    assert row.locator(".caption b").all_text_contents() == captions
    assert page.locator("#g-legend li").count() > 3
    for view in ("errors", "confidence", "prediction"):
        page.locator(f'#g-view label:has(input[value="{view}"])').click()
        image = row.locator(f'[data-method="model-2"] img[src*=".{view}.png"]')
        image.wait_for()
        image.evaluate("(i) => i.decode()")
        words = page.locator("#g-legend").text_content()
        assert ("wrong" in words, "confidence" in words) == (view == "errors", view == "confidence")


def test_sort_orders(report: Path, opened: Open) -> None:
    page = opened(report).page
    rows = rows_of(report)
    assert names(page) == [row["name"] for row in rows]
    page.locator("#g-order").select_option("disagreement")
    assert names(page) == [row["name"] for row in sorted(rows, key=lambda row: -row["disagreement"])]
    page.locator("#g-order").select_option("worst")
    means = {row["name"]: sum(s["mean"] for s in row["scores"].values()) / len(row["scores"]) for row in rows}
    assert names(page) == sorted(means, key=lambda name: means[name])
    assert page.locator("#g-class").is_disabled() is True
    page.locator("#g-order").select_option("class")
    page.locator("#g-class").select_option(label="car")
    with_cars = [row for row in rows if "5" in row["shares"]]
    assert sorted(names(page)) == sorted(row["name"] for row in with_cars)
    assert page.locator("#g-count").text_content() == f"{len(with_cars)} of {len(rows)} images"


def test_dataset_selection(report: Path, opened: Open) -> None:
    page = opened(report).page
    page.locator("#g-dataset").select_option(label="Object scenes")
    page.locator("#g-rows").scroll_into_view_if_needed()
    page.locator('#g-rows img[src^="gallery/object-scenes/"]').first.wait_for()
    assert names(page) == [row["name"] for row in rows_of(report, 1)]


def cut(page: Any) -> float:
    return float(page.locator("#v-stage").evaluate("(s) => parseFloat(s.style.getPropertyValue('--cut'))"))


def test_a_click_enlarges_and_the_boundary_moves(report: Path, opened: Open, width: int) -> None:
    found = opened(report, width)
    page, cell = found.page, found.row().locator('[data-method="model-2"]')
    cell.click()
    page.locator("#viewer[open]").wait_for()
    assert page.locator("#v-over img").get_attribute("src").endswith(".truth.png")
    assert page.locator("#v-under img").get_attribute("src").endswith(".model-2.prediction.png")
    assert cut(page) == 50
    page.keyboard.press("ArrowRight")
    assert cut(page) == 51, "the slider has the focus"
    box = page.locator("#v-stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.5, steps=4)
    page.mouse.up()
    assert cut(page) == pytest.approx(25, abs=1)
    page.locator("#v-left").select_option("image")
    assert page.locator("#v-over img").get_attribute("src").endswith(".image.jpg")
    page.locator('#v-view label:has(input[value="errors"])').click()
    assert page.locator("#v-under img").last.get_attribute("src").endswith(".model-2.errors.png")
    assert page.locator("#viewer").evaluate("(d) => d.scrollWidth <= d.clientWidth")


def test_keyboard_navigation_of_enlarged_images(report: Path, opened: Open) -> None:
    found = opened(report)
    page, cell = found.page, found.row().locator('[data-method="model-1"]')
    cell.scroll_into_view_if_needed()
    cell.focus()
    page.keyboard.press("Enter")
    page.locator("#viewer[open]").wait_for()
    first = page.locator("#v-title").text_content()
    page.keyboard.press("n")
    assert page.locator("#v-title").text_content() != first
    page.keyboard.press("p")
    assert page.locator("#v-title").text_content() == first
    page.keyboard.press("3")
    assert ".model-3." in page.locator("#v-under img").get_attribute("src")
    page.locator("#v-next").click()
    page.locator("#v-previous").click()
    assert page.locator("#v-position").text_content() == "1 of 2"
    page.keyboard.press("Escape")
    assert page.locator("#viewer[open]").count() == 0
    assert page.evaluate("document.activeElement.dataset.method") == "model-1", "the focus returns"
