"""Every control of the page works by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Open = Callable[..., Any]


def test_everything_is_drawn_without_messages_and_fits(report: Path, opened: Open, width: int) -> None:
    found = opened(report, width)
    found.scroll_through()
    charts = found.page.locator("[data-chart]")
    assert charts.count() >= 8
    for place in range(charts.count()):
        chart = charts.nth(place)
        chart.scroll_into_view_if_needed()
        chart.locator(".plot .main-svg").first.wait_for()
    assert found.page.evaluate("document.documentElement.scrollWidth") <= width
    broken = "Array.from(document.images).filter((i) => i.complete && !i.naturalWidth).map((i) => i.src)"
    assert found.page.evaluate(broken) == []
    assert any(url.endswith("plotly.min.js") for url in found.requests)


def test_the_summary_is_on_top(report: Path, opened: Open) -> None:
    page = opened(report).page
    assert page.locator(".headline").is_visible()
    assert page.locator(".verdicts li").count() == 4
    assert page.locator('[data-chart="forest"] .plot').bounding_box()["y"] < 900


def test_tables_sort_by_mouse_and_keyboard(report: Path, opened: Open) -> None:
    page = opened(report).page
    table = page.locator("#networks table")
    header = table.locator("th", has_text="mIoU").first
    shown = "(t) => Array.from(t.tBodies[0].rows, (r) => r.cells[4].textContent.trim().slice(0, 6))"
    first = table.evaluate(shown)
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert table.evaluate(shown) == sorted(first, reverse=True)
    header.locator("button").press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    assert table.evaluate(shown) == sorted(first)
    assert "ascending" in page.locator("#announcement").text_content()
    header.locator("button").press("Enter")
    assert header.get_attribute("aria-sort") is None
    assert table.evaluate(shown) == first


def test_tables_can_be_downloaded(report: Path, opened: Open) -> None:
    page = opened(report).page
    links = page.locator("#table1 .files a")
    assert links.all_text_contents() == ["Markdown", "CSV", "LaTeX"]
    for place in range(3):
        assert (report / links.nth(place).get_attribute("href")).is_file()


def axis(page: Any, chart: str, name: str = "xaxis") -> list[float]:
    found = page.locator(f'[data-chart="{chart}"] .plot').evaluate(f"(p) => p._fullLayout.{name}.range.map(Number)")
    return [round(value, 6) for value in found]


def test_chart_selection_zoom_and_download(report: Path, opened: Open) -> None:
    page = opened(report).page
    chart = page.locator('[data-chart="curves"]')
    chart.scroll_into_view_if_needed()
    chart.locator(".main-svg").first.wait_for()
    title = "(p) => p._fullLayout.yaxis.title.text"
    plot = chart.locator(".plot")
    assert plot.evaluate(title) == "held-out mIoU"
    chart.locator("select").first.select_option(label="training loss")
    assert plot.evaluate(title) == "training loss"
    whole = axis(page, "curves")
    chart.get_by_role("button", name="Zoom in").click()
    zoomed = axis(page, "curves")
    assert whole[0] < zoomed[0] < zoomed[1] < whole[1]
    plot.focus()
    page.keyboard.press("ArrowRight")
    assert axis(page, "curves")[0] > zoomed[0]
    page.keyboard.press("-")
    page.keyboard.press("0")
    assert axis(page, "curves") == whole
    with page.expect_download() as download:
        chart.get_by_role("button", name="SVG").click()
    assert download.value.suggested_filename == "curves.svg"


def test_a_drag_zooms(report: Path, opened: Open) -> None:
    page = opened(report).page
    page.locator('[data-chart="curves"] [data-tool="reset"]').click()
    plot = page.locator('[data-chart="curves"] .plot')
    plot.scroll_into_view_if_needed()
    page.locator('[data-chart="curves"] .main-svg').first.wait_for()
    whole, box = axis(page, "curves"), plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.6, steps=5)
    page.mouse.up()
    page.wait_for_function(
        f"document.querySelector('[data-chart=\"curves\"] .plot')._fullLayout.xaxis.range[1] < {whole[1]}"
    )


def test_light_and_dark(report: Path, opened: Open) -> None:
    found = opened(report, theme="dark", fresh=True)
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = found.page.evaluate(ground)
    plot = found.page.locator('[data-chart="forest"] .plot')
    plot.locator(".main-svg").first.wait_for()
    paper = "(p) => p._fullLayout.paper_bgcolor"
    before = plot.evaluate(paper)
    found.page.locator("#theme").click()
    assert found.page.evaluate(ground) != dark
    assert plot.evaluate(paper) != before, "charts follow"
    assert found.page.locator("#theme").get_attribute("aria-pressed") == "false"
    found.page.reload()
    assert found.page.evaluate(ground) != dark, "the choice is kept"


def test_filter_of_differing_settings(report: Path, opened: Open) -> None:
    page = opened(report).page
    page.locator("summary", has_text="All settings").click()
    rows = page.locator(".settings tbody tr:visible")
    every = rows.count()
    page.locator("#differing").check()
    assert 0 < rows.count() < every


def test_tab_starts_with_the_skip_link(report: Path, opened: Open) -> None:
    page = opened(report, fresh=True).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_everything_is_open_in_print(report: Path, opened: Open) -> None:
    page = opened(report).page
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    widths = "() => Array.from(document.querySelectorAll('.plot:not([hidden])'), (p) => p._fullLayout.width)"
    assert max(page.evaluate(widths)) <= 680, "charts fit on the sheet"
    page.emulate_media(media="print")
    assert not page.locator(".contents").is_visible()
    assert page.locator("#g-rows img").count() > 0
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert min(page.evaluate(widths)) > 680, "and are as wide as before afterwards"
    assert page.locator("details:not([open])").count() > 0
    assert len(page.pdf()) > 50_000
