"""The page in headless Chromium; skipped without Chromium or Playwright."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from segmi.report import write_report

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install 'segmi[test]'")


@dataclass
class Opened:
    """A page with its messages and requests."""

    page: Any
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def row(self, place: int = 0) -> Any:
        return self.page.locator("#g-rows .row").nth(place)

    def scroll_through(self) -> None:
        """Scroll to the end of the page, screen by screen, so that everything is drawn."""
        self.page.evaluate(
            """async () => {
                const pause = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 15)));
                for (let y = 0; y < document.documentElement.scrollHeight; y += 700) {
                    window.scrollTo({ top: y, behavior: "instant" });
                    await pause();
                }
            }"""
        )


@pytest.fixture(params=[375, 1440])
def width(request: pytest.FixtureRequest) -> int:
    """Widths of a phone and of a desktop."""
    return int(request.param)


@pytest.fixture(scope="session")
def report(demo_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the fabricated study: 2 datasets × 3 methods × 2 seeds."""
    return write_report(demo_runs, tmp_path_factory.mktemp("browser") / "report")


@pytest.fixture(scope="session")
def pages(chromium: Any) -> Iterator[dict[tuple[Any, ...], Opened]]:
    """Pages that tests share, because loading is slow."""
    found: dict[tuple[Any, ...], Opened] = {}
    yield found
    for one in found.values():
        one.page.context.close()


@pytest.fixture
def opened(chromium: Any, pages: dict[tuple[Any, ...], Opened]) -> Iterator[Callable[..., Opened]]:
    """Open the page of a report in its initial state; fails on messages and on requests outside the disk."""
    used: list[Opened] = []

    def open_(folder: Path, width: int = 1440, *, theme: str = "light", fresh: bool = False) -> Opened:
        key = (folder, width, theme, len(pages) if fresh else -1)
        if key not in pages:
            pages[key] = _load(chromium, folder, width, theme)
        else:
            pages[key].page.evaluate(INITIAL_STATE)
        used.append(pages[key])
        return pages[key]

    yield open_
    for one in used:
        assert one.messages == []
        assert [url for url in one.requests if not url.startswith(("file:", "data:", "blob:"))] == []


INITIAL_STATE = """() => {
    document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
    for (const id of ["g-dataset", "g-order"]) {
        const select = document.getElementById(id);
        select.selectedIndex = 0;
        select.dispatchEvent(new Event("change", { bubbles: true }));
    }
    document.querySelector("#g-view input").click();
    document.querySelectorAll("details").forEach((one) => (one.open = "opened" in one.dataset));
    window.scrollTo({ top: 0, behavior: "instant" });
}"""

MARK_OPEN = 'document.querySelectorAll("details[open]").forEach((one) => (one.dataset.opened = "yes"))'


def _load(chromium: Any, folder: Path, width: int, theme: str) -> Opened:
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    context.set_default_timeout(20_000)
    found = Opened(context.new_page())
    found.page.on("console", lambda message: found.messages.append(f"{message.type}: {message.text}"))
    found.page.on("pageerror", lambda error: found.messages.append(f"error: {error}"))
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.goto((folder / "index.html").absolute().as_uri())
    found.page.evaluate(MARK_OPEN)
    return found
