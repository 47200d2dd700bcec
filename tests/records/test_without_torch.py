"""Records, statistics and report start without PyTorch, which takes seconds to import."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("package", ["records", "statistics", "report"])
def test_no_torch(package: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    code = f"import sys, segmi.{package}; print([m for m in sys.modules if m.split('.')[0] in ('torch', 'lightning')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
