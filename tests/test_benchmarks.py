"""The benchmarks run as they stand, at their smallest."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from segmi.information.estimation import ESTIMATORS

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


@pytest.mark.slow
def test_the_yardstick_of_estimators_prints_its_tables_and_draws_them(tmp_path: Path) -> None:
    figure = tmp_path / "estimators.png"
    command = [sys.executable, str(FOLDER / "estimators.py"), "--quick", "--repetitions", "2", "--figure", str(figure)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# Estimators of mutual information")
    assert "| estimator | 64 samples | 128 samples | seconds |" in done.stdout
    for name in ("Gaussian plug-in", "KSG, 3 neighbours", *(f"`{name}`" for name in ESTIMATORS)):
        assert done.stdout.count(f"| {name} | ") == 4
    assert figure.stat().st_size > 10_000


@pytest.mark.slow
def test_precision_draws_its_curves(tmp_path: Path) -> None:
    figure = tmp_path / "precision.png"
    command = [sys.executable, str(FOLDER / "precision.py"), "--quick", "--data", "none", "--figure", str(figure)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# bf16 beside fp32")
    assert "| 20 | " in done.stdout
    assert "bf16 is" in done.stdout
    assert figure.stat().st_size > 10_000


@pytest.mark.slow
def test_training_prints_its_tables() -> None:
    command = [sys.executable, str(FOLDER / "training.py"), "--quick", "--data", "none"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for head in ("## U-Net 2, a step", "## Mutual learning", "## A run: U-Net 2 on street scenes"):
        assert head in done.stdout


def test_one_chapter_of_the_results_takes_the_place_of_its_predecessor() -> None:
    namespace = runpy.run_path(str(FOLDER / "results.py"))
    with_chapter = namespace["with_chapter"]
    text = "# Head\n\nWords.\n\n<!-- a -->\n\n## A\n\nold\n\n<!-- b -->\n\n## B\n"
    changed = with_chapter(text, "a", "<!-- a -->\n\n## A\n\nnew\n")
    assert changed == text.replace("old", "new")
    assert with_chapter(text, "c", "<!-- c -->\n\n## C\n") == text + "\n<!-- c -->\n\n## C\n"
