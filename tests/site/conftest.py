"""The documentation site, built once per session of all workers; skipped without Sphinx."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return the folder of the pages; the build fails on warnings."""
    pytest.importorskip("sphinx", reason="needs Sphinx: pip install 'segmi[docs]'")
    pytest.importorskip("ziamath", reason="needs ziamath: pip install 'segmi[docs]'")
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "site"
    with FileLock(f"{folder}.lock"):
        if not (folder / "html" / "index.html").exists():
            script, environment = ROOT / "docs" / "site" / "build.py", {**os.environ, "OMP_NUM_THREADS": "1"}
            command = [sys.executable, str(script), str(folder), "--jobs", "1"]
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            if done.returncode:
                shutil.rmtree(folder / "html", ignore_errors=True)
                pytest.fail(done.stderr[-4000:])
    return folder / "html"


@pytest.fixture(scope="session")
def worker_id(request: pytest.FixtureRequest) -> str:
    """Return the name of the process of pytest-xdist, as its fixture does."""
    return getattr(request.config, "workerinput", {}).get("workerid", "master")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install 'segmi[dev]'")
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"needs a browser: none of {', '.join(BROWSERS)} is installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
