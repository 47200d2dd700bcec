"""The documentation site, built once per session of all workers; skipped without Sphinx."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]


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
