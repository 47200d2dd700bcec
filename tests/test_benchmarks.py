"""The benchmarks run as they stand, at their smallest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["data"])
def test_the_benchmark_prints_its_tables(name: str) -> None:
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# ")
    assert "| item | decoded every time | from the cache | × |" in done.stdout
    assert "| pictures | mapped | time per picture |" in done.stdout
