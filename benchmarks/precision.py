"""Whether bf16 trains as fp32 does: loss and held-out score of 200 steps, beside two seeds of fp32: `make bench`.

The three runs see CamVid, or generated scenes where it is not installed. Where the processor has no instructions for
bf16, PyTorch does its arithmetic all the same, ten times slower; a smaller network then has to do, and the text says
so. The figure is about numbers, not about time.
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
from surroundings import machine

from segmi.datasets.holdout import hold_out
from segmi.datasets.processing import Processing
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.losses import build_objective
from segmi.models import build_network
from segmi.training import Budget, Cohort, LoggingConfig, OptimizationConfig, RuntimeConfig, fit
from segmi.training.precision import choose_precision
from training import camvid_or_scenes
from training import parser as training_parser

HERE: Final = Path(__file__).resolve().parent
RUNS: Final = (("fp32", 0), ("fp32", 1), ("bf16", 0))
POINTS: Final = 20
"""How often a run is scored."""


class Size(NamedTuple):
    """What is trained, on what."""

    width: int
    side: int
    batch: int
    steps: int


FULL = Size(16, 224, 8, 200)
EMULATED = Size(8, 112, 8, 200)
QUICK = Size(2, 48, 2, 20)

History = list[dict[str, Any]]


def has_bf16(size: Size, device: str) -> bool:
    """Whether a step in bf16 takes about as long as one in fp32, or less, as `precision: auto` measures it."""
    network = Cohort({"unet": build_network("unet", classes=11, width=size.width)})
    found = choose_precision("auto", network, torch.device(device), images=2, side=size.side)
    return found.seconds.get("bf16 channels_last") is not None


def histories(size: Size, given: argparse.Namespace) -> tuple[dict[str, History], str]:
    """What each run noted, by precision and seed, and the name of the data."""
    dataset, title = camvid_or_scenes(given, size.side)
    samples, held = hold_out(dataset.split("train"), 0.1, 0)
    processing = Processing(resize=size.side + 10, crop=size.side)
    found = {}
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
        found[f"{precision}, seed {seed}"] = outcome.history
    return found, title


def table(found: dict[str, History]) -> str:
    """A row for every other point."""
    names = list(found)
    columns = [f"loss, {name}" for name in names] + [f"held-out mIoU, {name}" for name in names]
    lines = ["| update | " + " | ".join(columns) + " |", "|---:|" + "---:|" * len(columns)]
    for rows in list(zip(*found.values(), strict=True))[1::2]:
        cells = [f"{row['train/loss']:.4f}" for row in rows] + [f"{row['holdout/mIoU/unet']:.3f}" for row in rows]
        lines.append(f"| {rows[0]['step']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ends(found: dict[str, History]) -> str:
    """How far apart the runs are at the end."""
    first, second, half = (rows[-1] for rows in found.values())
    lines = []
    for column, what in (("train/loss", "loss"), ("holdout/mIoU/unet", "held-out mIoU")):
        away, spread = abs(half[column] - first[column]), abs(second[column] - first[column])
        lines.append(f"At the end, bf16 is {away:.4f} from fp32 in {what}; two seeds of fp32 are {spread:.4f} apart.")
    return "\n".join(lines)


def draw(found: dict[str, History], path: Path) -> None:
    """Loss and held-out score over the steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), dpi=110)
    panels = figure.subplots(1, 2)
    styles = {"fp32, seed 0": ("#1f4e79", "-"), "fp32, seed 1": ("#1f4e79", ":"), "bf16, seed 0": ("#d1720e", "-")}
    for panel, column, what in zip(
        panels, ("train/loss", "holdout/mIoU/unet"), ("training loss, nats", "held-out mIoU"), strict=True
    ):
        for name, rows in found.items():
            color, line = styles[name]
            panel.plot([row["step"] for row in rows], [row[column] for row in rows], line, color=color, label=name)
        panel.set(xlabel="update", ylabel=what)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path)


def main() -> int:
    options = training_parser(__doc__)
    options.add_argument("--figure", type=Path, default=HERE / "precision.png", help="where the plot goes")
    given: Any = options.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    emulated = not given.quick and not has_bf16(FULL, given.device)
    size = QUICK if given.quick else EMULATED if emulated else FULL
    found, title = histories(size, given)
    print("# bf16 beside fp32\n")
    print(f"{datetime.date.today()}, {machine(given.device)}, PyTorch {torch.__version__}.")
    print("Written by `python benchmarks/precision.py" + (" --quick" if given.quick else "") + "`.\n")
    print(f"U-Net {size.width} on {title}, {size.steps} steps of {size.batch} × {size.side}², cross-entropy.")
    if emulated:
        print(f"This processor has no bf16; its arithmetic was done in software, hence no U-Net {FULL.width}.")
    print(f"\n![Loss and score over the steps]({given.figure.name})\n")
    print(table(found) + "\n\n" + ends(found))
    draw(found, given.figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
