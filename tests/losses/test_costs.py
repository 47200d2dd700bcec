import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from segmi.losses import LOSSES
from segmi.losses.build import measured_costs

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "catalog.py"


def test_costs_are_relative_to_cross_entropy() -> None:
    costs = measured_costs()
    assert set(costs) <= set(LOSSES)  # a new loss need not be measured
    assert costs["cross_entropy"] == {"time": "1.0", "memory": "1.0"}
    assert all(float(one["time"]) > 0 and float(one["memory"]) > 0 for one in costs.values())


def test_benchmark_writes_the_file_and_the_page() -> None:
    script = runpy.run_path(str(SCRIPT), run_name="script")
    text = script["CSV"].read_text(encoding="utf-8")
    assert text.startswith("# 20")
    assert script["PAGE"].read_text(encoding="utf-8") == script["page"](text.splitlines())


@pytest.mark.slow
def test_the_benchmark_runs() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--quick"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "\ncross_entropy,1.0,1.0\n" in done.stdout
    assert [line.split(",")[0] for line in done.stdout.splitlines()[2:]] == list(LOSSES)
