"""Run the demo study with three seeds and write docs/results/demo: `make results`.

Writes the Markdown report with its figures, and page.png, the top of the HTML report. Needs Playwright and Chromium.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from segmi.cli import main

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results" / "demo"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def screenshot(page: Path, target: Path) -> None:
    """Save the top of an HTML report as an image."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1440, "height": 940}, color_scheme="light")
        tab.goto(page.absolute().as_uri())
        tab.locator('[data-chart="forest"] .main-svg').first.wait_for()
        tab.screenshot(path=str(target))
        browser.close()


def write(runs: Path) -> int:
    """Run the study and copy its results; returns the exit code of the run."""
    code = main(["study", "run", "demo", "seeds=[0,1,2]", "--runs", str(runs), "--engine", "pool"])
    if code:
        return code
    report = runs / "demo" / "report"
    shutil.rmtree(RESULTS / "figures", ignore_errors=True)
    (RESULTS / "figures").mkdir(parents=True)
    for figure in sorted((report / "figures").glob("*.png")):
        shutil.copy(figure, RESULTS / "figures")
    shutil.copy(report / "report.md", RESULTS)
    screenshot(report / "index.html", RESULTS / "page.png")
    return 0


if __name__ == "__main__":
    sys.exit(write(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/results")))
