"""A served page reloads while a study runs and keeps its position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from segmi.report.watch import Watch, serving

POSITION = """async () => {
    const current = () => {
        const sections = Array.from(document.querySelectorAll("main section"));
        const above = sections.map((section) => [section.id, section.getBoundingClientRect().top]);
        const [id, top] = above.filter(([, top]) => top <= 0).pop();
        return `${id} ${Math.round(-top)}`;
    };
    let [before, same] = ["", 0];
    while (same < 5) {
        await new Promise((done) => setTimeout(done, 100));
        same = current() === before ? same + 1 : 0;
        before = current();
    }
    return before;
}"""
"""Current section and the offset in it, once the page is at rest."""


@pytest.mark.slow
def test_an_open_page_reloads_and_keeps_its_position(chromium: Any, fabricate: Callable[..., Any]) -> None:
    made = fabricate(seeds=(0,))
    made.plan()
    for method in ("model-1", "model-2"):
        made.run("street-scenes", method, 0)
    watch = Watch(made.root)
    with serving(watch, every=60) as address:
        page = chromium.new_page()
        messages: list[str] = []
        page.on("console", lambda message: messages.append(message.text))
        page.goto(address)
        page.wait_for_load_state("networkidle")
        assert page.locator(".state b").text_content() == "2 of 6 runs finished"
        page.locator("#g-order").select_option("worst")
        page.evaluate("window.scrollTo({ top: 700, behavior: 'instant' })")
        page.locator('[data-chart="forest"] .main-svg').first.wait_for()
        position = page.evaluate(POSITION)
        assert not position.startswith("summary 0")
        made.run("street-scenes", "model-3", 0)
        assert watch.update()
        page.locator(".state b", has_text="3 of 6").wait_for(timeout=15_000)
        page.wait_for_load_state("load")
        assert page.locator("#g-order").input_value() == "worst"
        assert page.evaluate(POSITION) == position
        assert messages == []
        page.close()
