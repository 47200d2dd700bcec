"""A gallery of 2,000 images scrolls without a task that a reader would notice."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segmi.report import write_report

PICTURES, COLUMNS = 400, 5
LONG = 50
"""Milliseconds beyond which a task is long, as the browser has it."""

SCROLL = """async () => {
    const long = [];
    const observer = new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) long.push(Math.round(entry.duration));
    });
    const box = document.querySelector(".rowscroll");
    await new Promise((done) => setTimeout(done, 300));
    observer.observe({ type: "longtask" });
    for (let top = 0; top < box.scrollHeight; top += 260) {
        box.scrollTo({ top, behavior: "instant" });
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    }
    await new Promise((done) => setTimeout(done, 200));
    const end = box.scrollTop + box.clientHeight >= box.scrollHeight - 4;
    return { long, end, images: box.querySelectorAll("img").length };
}"""


@pytest.fixture(scope="module")
def large_report(fabricator: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every run has kept the same picture four hundred times."""
    made = fabricator(tmp_path_factory.mktemp("large") / "runs", seeds=(0,))
    for method in made.methods:
        run = made.run("street-scenes", method, 0)
        samples = run.path / "samples"
        for path in list(samples.glob("val_0001.*")):
            path.unlink()
        layers = sorted(samples.glob("val_0000.*"))
        for number in range(1, PICTURES):
            for path in layers:
                os.link(path, samples / path.name.replace("val_0000", f"val_{number:04d}"))
        result = run.result()
        assert result is not None
        run.write_result({name: value for name, value in result.items() if name not in ("artefacts", "schema_version")})
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
    assert found["images"] == PICTURES * COLUMNS
    assert found["end"]
    busy = [cost for cost in map(processor_time(tmp_path / "trace.json"), found["long"]) if cost > LONG]
    assert busy == [], "milliseconds of processor time of single tasks"


def processor_time(trace: Path) -> Callable[[int], float]:
    """From how long a task of the page lasted to what it took of the processor, both in milliseconds.

    The browser reports tasks by the clock, in which other work on the machine counts too.
    """
    events = json.loads(trace.read_text())["traceEvents"]
    main = {(e["pid"], e["tid"]) for e in events if e.get("args", {}).get("name") == "CrRendererMain"}
    tasks = [
        (e["dur"] / 1000, e["tdur"] / 1000)
        for e in events
        if e["name"].endswith("RunTask") and (e["pid"], e["tid"]) in main and "tdur" in e
    ]
    return lambda lasted: max((cost for dur, cost in tasks if abs(dur - lasted) <= 1), default=float(lasted))
