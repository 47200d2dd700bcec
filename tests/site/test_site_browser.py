"""Twelve pages of the site in headless Chromium: no message, no serious fault of axe-core, no overflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core: pip install 'segmi[dev]'")

pytestmark = pytest.mark.timeout(900)  # the first test builds the site

PAGES = (
    "index", "start/loss", "start/study", "guides/data", "guides/study-settings", "guides/statistics", "background/rmi",
    "losses/index", "losses/each/rmi_loss", "losses/own-loss", "reference/segmi.deploy", "changelog",
)  # fmt: skip


@pytest.mark.parametrize(
    ("width", "theme"),
    [
        (375, "dark"),
        pytest.param(375, "light", marks=pytest.mark.slow),
        pytest.param(1440, "dark", marks=pytest.mark.slow),
        pytest.param(1440, "light", marks=pytest.mark.slow),
    ],
)
def test_pages(site: Path, chromium: Any, width: int, theme: str) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda message: faults.append(f"{page.url}: {message.type}: {message.text}"))
    page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
    page.on("request", lambda one: None if one.url.startswith(("file:", "data:")) else faults.append(one.url))
    for name in PAGES:
        page.goto((site / f"{name}.html").as_uri())
        scroll = page.evaluate("document.documentElement.scrollWidth")
        if scroll > width:
            faults.append(f"{name}: {scroll} px wide")
        found = axe.Axe().run(page, options={"preload": False}).response["violations"]
        faults += [
            f"{name}: {one['id']}: {node['target']} {node['failureSummary']}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"][:2]
        ]
    context.close()
    assert not faults, "\n".join(faults)


def test_the_table_of_losses_filters_and_sorts(site: Path, chromium: Any) -> None:
    page = chromium.new_page()
    page.goto((site / "losses" / "index.html").as_uri())
    count = page.locator(".loss-filter output")
    shown = page.locator(".loss-table tbody tr:visible")
    total = shown.count()
    assert count.inner_text() == f"{total} of {total} losses"
    page.get_by_label("Name or effect").fill("dice coefficient")
    assert shown.count() == 1
    assert "dice" in shown.first.inner_text()
    page.get_by_label("Name or effect").fill("")
    page.get_by_label("Requires").select_option("teacher")
    assert {
        text.strip() for text in page.locator(".loss-table tbody tr:visible td:nth-child(4)").all_inner_texts()
    } == {"teacher"}
    page.get_by_label("Requires").select_option("")
    page.get_by_role("button", name="time").click()
    times = [float(text) for text in page.locator(".loss-table tbody td:nth-child(5)").all_inner_texts()]
    assert times == sorted(times)
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("time")
    page.get_by_label("Time at most").select_option("1")
    assert 0 < shown.count() < total
    shown.first.get_by_role("link").first.click()
    assert "/losses/each/" in page.url
    page.close()


def test_search_works_offline(site: Path, chromium: Any) -> None:
    page = chromium.new_page()
    page.goto(f"{(site / 'search.html').as_uri()}?q=lovasz")
    result = page.locator("#search-results li a").first
    result.wait_for()
    assert "lovasz" in page.locator("#search-results").inner_text().lower()
    page.close()
