"""The benchmarks run at their smallest size."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segmi.information.estimation import ESTIMATORS
from segmi.losses import LOSSES

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.mark.skipif(torch.cuda.is_available(), reason="`make gpu` takes minutes on a GPU")
@pytest.mark.timeout(900)
def test_gpu_runs_small_without_one(tmp_path: Path) -> None:
    output = tmp_path / "GPU.md"
    command = [sys.executable, str(FOLDER / "gpu.py"), "--output", str(output)]
    command += ["--only", "losses", "steps", "mutual", "evaluation", "loader"]  # its tests run with all others
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("no GPU: PyTorch ")
    text = output.read_text()
    for part in (
        "| RMILoss |",
        "| unet | cross-entropy + RMI |",
        "| segmi, one forward pass each |",
        "images/s of 32²",
    ):
        assert part in text
    assert "Triton's interpreter" in text
    assert not (FOLDER / "GPU.md").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["data"])
def test_data_prints_its_tables(name: str) -> None:
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# ")
    assert "| item | decoded every time | from the cache | × |" in done.stdout
    assert "| images | mapped | time per image |" in done.stdout


@pytest.mark.slow
def test_estimators_prints_tables_and_draws_a_figure(tmp_path: Path) -> None:
    figure = tmp_path / "estimators.png"
    command = [sys.executable, str(FOLDER / "estimators.py"), "--quick", "--repetitions", "2", "--figure", str(figure)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# Estimators of mutual information")
    assert "| estimator | 64 samples | 128 samples | seconds |" in done.stdout
    for name in ("Gaussian plug-in", "KSG, 3 neighbors", *(f"`{name}`" for name in ESTIMATORS)):
        assert done.stdout.count(f"| {name} | ") == 4
    assert figure.stat().st_size > 10_000


@pytest.mark.slow
def test_precision_draws_curves(tmp_path: Path) -> None:
    figure = tmp_path / "precision.png"
    command = [sys.executable, str(FOLDER / "precision.py"), "--quick", "--data", "none", "--figure", str(figure)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# Training in bf16 and fp32")
    assert "| 20 | " in done.stdout
    assert "bf16 and fp32 differ by" in done.stdout
    assert figure.stat().st_size > 10_000


@pytest.mark.slow
def test_training_prints_its_tables() -> None:
    command = [sys.executable, str(FOLDER / "training.py"), "--quick", "--data", "none"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for head in ("## U-Net 2, a step", "## Mutual learning", "## A run: U-Net 2 on street scenes"):
        assert head in done.stdout


@pytest.mark.slow
def test_whole_study_compares_every_part_of_the_paper() -> None:
    command = [sys.executable, str(FOLDER / "whole_study.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split(" | ") for line in done.stdout.splitlines() if " s | " in line]
    names = ("| Model 1", "| Model 2", "| Model 3", "| Evaluation", "| together")
    assert len(lines) == len(names)
    for cells, name in zip(lines, names, strict=True):
        assert cells[0].startswith(name)
        theirs, own, faster = (float(cell.removesuffix(" |").removesuffix(" s")) for cell in cells[1:])
        assert faster == pytest.approx(theirs / own, rel=0.1)


@pytest.mark.slow
def test_processes_compares_two_with_one() -> None:
    command = [sys.executable, str(FOLDER / "processes.py"), "--quick", "--data", "none"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, *others = [line for line in done.stdout.splitlines() if line.startswith("| cross-entropy | ")]
    assert not others
    assert 0 < float(first.split(" | ")[1]) < 1e-5
    assert done.stdout.count("| step | one process | one process, 2 threads | two processes |") == 3


def rows(printed: str) -> dict[str, list[list[str]]]:
    """Return the cells of every table row that starts with the name of a loss, by name."""
    found: dict[str, list[list[str]]] = {}
    for line in printed.splitlines():
        if line.startswith("| `"):
            name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            found.setdefault(name.strip("`"), []).append(cells)
    return found


def test_a_few_losses_train_and_their_terms_decrease() -> None:
    """One loss with a teacher, one with peers, one with heads; cross-entropy alone does not reach their values."""
    names = ["dist", "mutual_learning", "information_bottleneck"]
    command = [sys.executable, str(FOLDER / "catalog_training.py"), "--quick", "--steps", "25", "--only", *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = rows(done.stdout)
    assert list(found) == [*names, "cross_entropy"]
    for name in names:
        terms, step = found[name]
        assert terms[0] == "added to cross-entropy"
        assert float(terms[2]) < float(terms[1])
        assert terms[3] == "yes"
        assert all(float(cell.removesuffix(" ms")) > 0 for cell in step)
    assert found["cross_entropy"][0][1] == "1.00"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_loss_trains_and_its_term_ends_lower_than_with_cross_entropy() -> None:
    command = [sys.executable, str(FOLDER / "catalog_training.py"), "--part", "terms"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = rows(done.stdout)
    assert list(found) == list(LOSSES), done.stderr
    verdicts = {name: row[0][3] for name, row in found.items()}
    assert verdicts == {name: "–" if name == "cross_entropy" else "yes" for name in LOSSES}
    assert done.returncode == 0


def test_a_chapter_of_the_results_replaces_the_previous_one() -> None:
    namespace = runpy.run_path(str(FOLDER / "results.py"))
    with_chapter = namespace["with_chapter"]
    text = "# Head\n\nWords.\n\n<!-- a -->\n\n## A\n\nold\n\n<!-- b -->\n\n## B\n"
    changed = with_chapter(text, "a", "<!-- a -->\n\n## A\n\nnew\n")
    assert changed == text.replace("old", "new")
    assert with_chapter(text, "c", "<!-- c -->\n\n## C\n") == text + "\n<!-- c -->\n\n## C\n"


@pytest.fixture
def first_hour(tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """The names of the benchmark, and a folder of images of 64 × 64 with segmi.toml."""
    for split, count in (("train", 8), ("val", 2)):
        for number in range(count):
            mask = np.zeros((64, 64), np.uint8)
            mask[number : number + 30, 10:40] = 1
            for kind, pixels in (("images", 200 * np.repeat(mask[..., None], 3, 2)), ("masks", mask)):
                path = tmp_path / "squares" / kind / split / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(path)
    (tmp_path / "squares" / "segmi.toml").write_text(
        'format = 1\nmasks = "index"\nclasses = [{ name = "back", value = 0 }, { name = "square", value = 1 }]\n'
        '[splits.train]\nimages = "images/train"\nmasks = "masks/train"\n'
        '[splits.val]\nimages = "images/val"\nmasks = "masks/val"\n'
    )
    return runpy.run_path(str(FOLDER / "first_hour.py")), tmp_path / "squares"


def test_first_hour_trains_the_common_recipe(first_hour: tuple[dict[str, Any], Path]) -> None:
    names, folder = first_hour
    result = names["common_recipe"](folder, 0.002, 0, side=64, rate=1e-3)
    assert 0 < result["mIoU"] <= 1
    assert result["steps"] >= 1
    rows = [
        {"dataset": "a", "minutes": 5.0, "side": side, "seed": seed, "mIoU": value}
        for side, values in (("common", (0.5, 0.6)), ("segmi", (0.6, 0.8)))
        for seed, value in enumerate(values)
    ]
    rows.append({"dataset": "b", "minutes": 5.0, "side": "common", "seed": 0, "mIoU": 0.9})  # not both sides yet
    lines = names["table"](rows).splitlines()[2:]
    assert lines == ["| 5 | a | 2 | 0.550 | 0.700 | +15.0 |", "| 5 | mean | | | | +15.0 |"]


def test_first_hour_measures_no_cell_twice(first_hour: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    names, folder = first_hour
    cell = {"minutes": 5.0, "seed": 0, "dataset": "squares", "empty_cache": False, "machine": "one", "date": "today"}
    rows = [{**cell, "side": side, "mIoU": value} for side, value in (("common", 0.5), ("segmi", 0.75))]
    rows.append({**cell, "seed": 1, "side": "common", "mIoU": 0.9})  # the other side is not of the same machine
    assert names["comparable"]("\n".join(map(json.dumps, rows))) == rows[:2]
    output = tmp_path / "cells.jsonl"
    output.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, str(FOLDER / "first_hour.py"), str(folder), "--output", str(output)]
    done = subprocess.run([*command, "--minutes", "5", "--seeds", "0"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Measured on one, today." in done.stdout
    assert "| 5 | squares | 1 | 0.500 | 0.750 | +25.0 |" in done.stdout
    assert len(output.read_text().splitlines()) == 3


@pytest.mark.slow
def test_first_hour_runs_segmi_train(first_hour: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    names, folder = first_hour
    result = names["segmi_recipe"](folder, 0.05, 0, tmp_path / "run")
    assert 0 < result["mIoU"] <= 1
    assert result["steps"] >= 1
