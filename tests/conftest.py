"""Fixtures for all tests."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# The tests of faults end and stop processes by signals.
collect_ignore = ["faults"] if sys.platform == "win32" else []
_POSIX = re.compile(
    r"SIGKILL|SIGSTOP|os\.(fork|kill|pipe|mkfifo|[gs]ete?uid)|[\"']fork[\"']|/proc/|/dev/|chmod|symlink_to"
    r"|import resource"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests on Windows that use functions which only POSIX systems have."""
    for item in items if sys.platform == "win32" else ():
        if isinstance(item, pytest.Function) and _POSIX.search(inspect.getsource(item.function)):
            item.add_marker(pytest.mark.skip(reason="uses a function that Windows lacks"))


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    # With tiny tensors, synchronization of threads costs more than they gain.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Return a headless browser: one for all tests of a process, since Playwright's loop cannot run twice."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install 'segmi[dev]'")
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"needs a browser: none of {', '.join(BROWSERS)} is installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def device() -> torch.device:
    """Return the GPU if there is one, else the CPU; tests that use it are marked ``cuda``."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="session")
def camvid_root() -> Path:
    """Return the folder of CamVid, from ``SEGMI_DATA`` or a data folder beside the repository."""
    root = Path(os.environ.get("SEGMI_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "CamVid"
    if not (root / "trainannot").is_dir():
        pytest.skip("CamVid is not installed: set SEGMI_DATA to the folder that holds CamVid/")
    return root


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A separate file system of 16 MB, or of the size (in `mount` syntax) that an indirect parameter gives."""
    folder = tmp_path / "runs"  # the folder that command tests use for runs
    folder.mkdir()
    size = getattr(request, "param", "16m")
    try:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        done = False
    if not done:
        pytest.skip("mounting a small tmpfs needs root and the mount capability")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session", autouse=True)
def _separate_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep tested commands, in other processes too, away from the user's cache."""
    os.environ["SEGMI_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _compiled_kernels() -> None:
    """Wait for compiled kernels, so that tests do not depend on the cache."""
    os.environ["SEGMI_KERNELS"] = "wait"
