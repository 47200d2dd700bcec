"""Twenty methods: the gallery shows a selection, sorting uses it, and everything fits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segmi.report import write_report

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def many(fabricator: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods with finished runs and seventeen without."""
    made = fabricator(tmp_path_factory.mktemp("many") / "runs", seeds=(0,))
    ran = list(made.methods)
    made.methods |= {f"further-{i}": f"A further method with a long name, {i}" for i in range(17)}
    made.plan()
    for method in ran:
        made.run("street-scenes", method, 0)
    return write_report(made.root)


@pytest.mark.slow
def test_twenty_methods_fit_the_width(many: Path, opened: Open, width: int) -> None:
    found = opened(many, width)
    found.scroll_through()
    assert found.page.evaluate("document.documentElement.scrollWidth") <= width
    plot = found.page.locator('[data-chart="forest"] .plot')
    plot.locator(".main-svg").first.wait_for()
    assert plot.evaluate("(p) => p._fullLayout.yaxis._length") > 20 * 19, "room for every line"


def test_methods_are_chosen(many: Path, opened: Open) -> None:
    found = opened(many)
    page, row = found.page, found.row()
    row.scroll_into_view_if_needed()
    row.locator("img").first.wait_for()
    captions = row.locator(".caption b")
    first = [f"A further method with a long name, {i}" for i in (0, 1)]
    assert captions.all_text_contents() == ["Image", "Truth", "Model 1", "Model 2", "Model 3", *first]
    assert page.locator("#g-selected").text_content() == "5 of 20"
    page.locator("#g-methods summary").click()
    for label in ("Model 1", "Model 3", *first):
        page.locator("#g-boxes").get_by_label(label, exact=True).uncheck()
    assert page.locator("#g-selected").text_content() == "1 of 20"
    row.locator("img").first.wait_for()
    assert captions.all_text_contents() == ["Image", "Truth", "Model 2"]
    page.locator("#g-order").select_option("worst")
    shown = row.locator(".caption span").last.text_content()
    others = found.page.locator("#g-rows .row .caption span").all_text_contents()
    assert float(shown) == min(float(text) for text in others if text)
