"""A gallery of 2,000 images scrolls without long tasks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segmi.report import write_report

IMAGES, COLUMNS = 400, 5
LONG = 50
"""Milliseconds of a long task, as defined by browsers."""

SCROLL = """async () => {
    const box = document.querySelector(".rowscroll");
    await new Promise((done) => setTimeout(done, 300)); // after the start of tracing
    performance.mark("scroll-begins");
    for (let top = 0; top < box.scrollHeight; top += 260) {
        box.scrollTo({ top, behavior: "instant" });
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    }
    performance.mark("scroll-ends");
    const end = box.scrollTop + box.clientHeight >= box.scrollHeight - 4;
    return { end, images: box.querySelectorAll("img").length };
}"""


@pytest.fixture(scope="module")
def large_report(fabricator: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Report of runs with the same image four hundred times."""
    made = fabricator(tmp_path_factory.mktemp("large") / "runs", seeds=(0,))
    for method in made.methods:
        run = made.run("street-scenes", method, 0)
        samples = run.path / "samples"
        for path in list(samples.glob("val_0001.*")):
            path.unlink()
        layers = sorted(samples.glob("val_0000.*"))
        for number in range(1, IMAGES):
            for path in layers:
                os.link(path, samples / path.name.replace("val_0000", f"val_{number:04d}"))
        result = run.result()
        assert result is not None
        run.write_result({name: value for name, value in result.items() if name not in ("artifacts", "schema_version")})
    return write_report(made.root)


@pytest.mark.slow
def test_two_thousand_images_scroll_without_long_tasks(
    large_report: Path, opened: Callable[..., Any], chromium: Any, tmp_path: Path
) -> None:
    page = opened(large_report, fresh=True).page
    page.locator(".rowscroll").scroll_into_view_if_needed()
    page.locator("#g-rows img").first.wait_for()
    chromium.start_tracing(page=page, path=str(tmp_path / "trace.json"))
    found = page.evaluate(SCROLL)
    chromium.stop_tracing()
    assert found["images"] == IMAGES * COLUMNS
    assert found["end"]
    tasks = tasks_while_scrolling(tmp_path / "trace.json")
    assert len(tasks) > IMAGES, "the trace has the tasks"
    assert [cost for cost in tasks if cost > LONG] == [], "milliseconds of processor time of single tasks"


def tasks_while_scrolling(trace: Path) -> list[float]:
    """Return the processor time of each task of the main thread in milliseconds.

    Wall time would include other work on the machine.
    """
    events = json.loads(trace.read_text())["traceEvents"]
    main = {(e["pid"], e["tid"]) for e in events if e.get("args", {}).get("name") == "CrRendererMain"}
    begins, ends = (next(e["ts"] for e in events if e["name"] == f"scroll-{which}") for which in ("begins", "ends"))
    return [
        e["tdur"] / 1000
        for e in events
        if e["name"] == "RunTask" and (e["pid"], e["tid"]) in main and "tdur" in e and begins <= e["ts"] <= ends
    ]
