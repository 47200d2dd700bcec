"""Training in bf16 compared with two seeds in fp32: loss and held-out score over 200 steps: `make bench`.

The three runs train on CamVid, or on generated scenes where it is not installed. On a processor without bf16
instructions, PyTorch emulates them about ten times slower; the benchmark then trains a smaller network and says so. It
compares numbers, not times.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).parent))
from surroundings import camvid_or_scenes, machine, training_parser

from segmi.datasets.holdout import hold_out
from segmi.datasets.processing import Processing
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.losses import build_objective
from segmi.models import build_network
from segmi.training import Budget, Cohort, LoggingConfig, OptimizationConfig, RuntimeConfig, fit
from segmi.training.precision import choose_precision

HERE: Final = Path(__file__).resolve().parent
RUNS: Final = (("fp32", 0), ("fp32", 1), ("bf16", 0))
POINTS: Final = 20
"""Number of validations per run."""


class Size(NamedTuple):
    """Width of the network, side of the crops, batch size and steps."""

    width: int
    side: int
    batch: int
    steps: int


FULL = Size(16, 224, 8, 200)
EMULATED = Size(8, 112, 8, 200)
QUICK = Size(2, 48, 2, 20)

History = list[dict[str, Any]]


def has_bf16(size: Size, device: str) -> bool:
    """Return whether `precision: auto` measures bf16, that is, whether bf16 is not emulated."""
    network = Cohort({"unet": build_network("unet", classes=11, width=size.width)})
    chosen = choose_precision("auto", network, torch.device(device), images=2, side=size.side)
    return chosen.seconds.get("bf16 channels_last") is not None


def histories(size: Size, given: argparse.Namespace) -> tuple[dict[str, History], str]:
    """Return the history of each run, by precision and seed, and the title of the dataset."""
    dataset, title = camvid_or_scenes(given, size.side)
    samples, held = hold_out(dataset.split("train"), 0.1, 0)
    processing = Processing(resize=size.side + 10, crop=size.side)
    result = {}
    for precision, seed in RUNS:
        torch.manual_seed(seed)
        network = build_network("unet", classes=len(dataset.info.classes), width=size.width)
        objective = build_objective({"cross_entropy": {}}, networks=["unet"])
        with tempfile.TemporaryDirectory() as folder:
            outcome = fit(
                Cohort({"unet": network}), objective, SegmentationDataset(dataset, samples, processing, seed=seed),
                folder=Path(folder), holdout=SegmentationDataset(dataset, held, processing), seed=seed,
                budget=Budget(steps=size.steps), optimization=OptimizationConfig(batch_size=size.batch),
                runtime=RuntimeConfig(precision=precision, device=given.device),
                logging=LoggingConfig(
                    select_by="last", validate_every=max(1, size.steps // POINTS), logger=()
                ),
            )  # fmt: skip
        result[f"{precision}, seed {seed}"] = outcome.history
    return result, title


def table(runs: dict[str, History]) -> str:
    """Return a table with a row for every second validation."""
    names = list(runs)
    columns = [f"loss, {name}" for name in names] + [f"held-out mIoU, {name}" for name in names]
    lines = ["| step | " + " | ".join(columns) + " |", "|---:|" + "---:|" * len(columns)]
    for rows in list(zip(*runs.values(), strict=True))[1::2]:
        cells = [f"{row['train/loss']:.4f}" for row in rows] + [f"{row['holdout/mIoU/unet']:.3f}" for row in rows]
        lines.append(f"| {rows[0]['step']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def final_differences(runs: dict[str, History]) -> str:
    """Return sentences about the differences between the runs at the last step."""
    first, second, half = (rows[-1] for rows in runs.values())
    lines = []
    for column, what in (("train/loss", "loss"), ("holdout/mIoU/unet", "held-out mIoU")):
        difference, spread = abs(half[column] - first[column]), abs(second[column] - first[column])
        lines.append(f"Last step, {what}: bf16 and fp32 differ by {difference:.4f}, two seeds of fp32 by {spread:.4f}.")
    return "\n".join(lines)


def draw(runs: dict[str, History], path: Path) -> None:
    """Draw the loss and the held-out score over the steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), dpi=110)
    panels = figure.subplots(1, 2)
    styles = {"fp32, seed 0": ("#1f4e79", "-"), "fp32, seed 1": ("#1f4e79", ":"), "bf16, seed 0": ("#d1720e", "-")}
    for panel, column, what in zip(
        panels, ("train/loss", "holdout/mIoU/unet"), ("training loss, nats", "held-out mIoU"), strict=True
    ):
        for name, rows in runs.items():
            color, line = styles[name]
            panel.plot([row["step"] for row in rows], [row[column] for row in rows], line, color=color, label=name)
        panel.set(xlabel="step", ylabel=what)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path)


def main() -> int:
    options = training_parser(__doc__)
    options.add_argument("--figure", type=Path, default=HERE / "precision.png", help="path of the plot")
    given: Any = options.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    emulated = not given.quick and not has_bf16(FULL, given.device)
    size = QUICK if given.quick else EMULATED if emulated else FULL
    runs, title = histories(size, given)
    print("# Training in bf16 and fp32\n")
    print(f"{datetime.date.today()}, {machine(given.device)}, PyTorch {torch.__version__}.")
    print("Written by `python benchmarks/precision.py" + (" --quick" if given.quick else "") + "`.\n")
    print(f"U-Net {size.width} on {title}, {size.steps} steps of {size.batch} × {size.side}², cross-entropy.")
    if emulated:
        print(f"The processor has no bf16 instructions; they were emulated, so this is not U-Net {FULL.width}.")
    print(f"\n![Loss and score over the steps]({given.figure.name})\n")
    print(table(runs) + "\n\n" + final_differences(runs))
    draw(runs, given.figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
