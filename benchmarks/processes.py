"""Loss curves of two processes compared with one process on the joint batch: `make bench`.

A U-Net is trained on CamVid, or on generated scenes where it is not installed, by one process and by two over gloo with
the same arguments. Group norm replaces batch norm, whose statistics depend on the images of a process. Images differ in
their share of ignored pixels, and so do the parts of a batch. Only the order of summation differs, so the curves differ
by rounding; one process with two threads instead of one shows how much rounding to expect. The learning rate is small:
at ten times as much, training amplifies rounding to 1 % of the loss within 40 steps, also between two threads and one.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from surroundings import camvid_or_scenes, machine, training_parser

from segmi.datasets.processing import Processing
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.losses import build_objective
from segmi.models import build_network
from segmi.training import Budget, Cohort, LoggingConfig, OptimizationConfig, RuntimeConfig, fit

CASES: Final[dict[str, tuple[dict[str, Any], int]]] = {
    "cross-entropy": ({"cross_entropy": {}}, 1),
    "cross-entropy, two batches per step": ({"cross_entropy": {}}, 2),
    "`rmi_loss`": ({"rmi_loss": {}}, 1),
}
"""Losses, and forward passes per step."""

SETUPS: Final = {"one process": (1, 1), "one process, 2 threads": (1, 2), "two processes": (2, 1)}
"""Processes, and threads per process."""


class Size(NamedTuple):
    """Width of the network, side of the crops, batch size and steps."""

    width: int
    side: int
    batch: int
    steps: int


FULL: Final = Size(8, 112, 8, 20)
QUICK: Final = Size(2, 32, 4, 4)


def with_group_norm(network: nn.Module) -> nn.Module:
    """Replace batch norm by group norm, so that the images of a batch do not affect each other."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.GroupNorm(2, child.num_features))
    return network


def train(case: str, size: Size, given: Any, folder: Path, *, processes: int, threads: int) -> list[float]:
    """Train and return the loss of each step."""
    losses, accumulate = CASES[case]
    dataset, _ = camvid_or_scenes(given, size.side)
    images = SegmentationDataset(dataset, dataset.split("train"), Processing(resize=size.side + 10, crop=size.side))
    torch.manual_seed(0)
    network = with_group_norm(build_network("unet", classes=len(dataset.info.classes), width=size.width))
    outcome = fit(
        Cohort({"unet": network}), build_objective(losses, networks=["unet"]), images, folder=folder,
        budget=Budget(steps=size.steps),
        optimization=OptimizationConfig(
            batch_size=size.batch, accumulate=accumulate, optimizer="SGD", learning_rate=0.005
        ),
        runtime=RuntimeConfig(precision="fp32", threads=threads, device="cpu", devices=processes),
        logging=LoggingConfig(select_by="last", validate_every=1, checkpoint_every=size.steps, logger=()),
    )  # fmt: skip
    return [row["train/loss"] for row in outcome.history]


def curves(setup: str, given: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """Return the losses of all cases, trained in one new process or in two that torchrun starts."""
    processes, threads = SETUPS[setup]
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    options = ["--data", given.data, *(["--quick"] if given.quick else [])]
    folder.mkdir()
    subprocess.run(
        [sys.executable, *start, __file__, *options, "--part", str(folder), str(processes), str(threads)], check=True
    )
    result: dict[str, list[float]] = json.loads((folder / "losses.json").read_text())
    return result


def largest_difference(one: list[float], other: list[float]) -> float:
    """Return the largest difference between two curves, relative to the loss."""
    return max(abs(a - b) / abs(a) for a, b in zip(one, other, strict=True))


def report(curves_of: dict[str, dict[str, list[float]]]) -> str:
    """Return a table of the differences, and a table of the curves per case."""
    one, threaded, two = curves_of.values()
    lines = ["| loss | two processes and one | two threads and one |", "|---|---:|---:|"]
    for case in one:
        differences = [largest_difference(one[case], other[case]) for other in (two, threaded)]
        lines.append(f"| {case} | {differences[0]:.1e} | {differences[1]:.1e} |")
    for case in one:
        count = len(one[case])
        lines += ["", f"## {case}", "", "| step | " + " | ".join(SETUPS) + " |", "|---:|" + "---:|" * len(SETUPS)]
        for step in sorted({0, count // 4, count // 2, 3 * count // 4, count - 1}):
            losses = " | ".join(f"{curve[case][step]:.7f}" for curve in curves_of.values())
            lines.append(f"| {step + 1} | {losses} |")
    return "\n".join(lines)


def main() -> int:
    options = training_parser(__doc__)
    options.add_argument("--part", nargs=3, help=argparse.SUPPRESS)
    given: Any = options.parse_args()
    size = QUICK if given.quick else FULL
    if given.part:
        folder, processes, threads = Path(given.part[0]), *map(int, given.part[1:])
        losses = {
            case: train(case, size, given, folder / str(number), processes=processes, threads=threads)
            for number, case in enumerate(CASES)
        }
        if int(os.environ.get("RANK", 0)) == 0:
            (folder / "losses.json").write_text(json.dumps(losses))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        curves_of = {setup: curves(setup, given, Path(folder) / str(number)) for number, setup in enumerate(SETUPS)}
    _, title = camvid_or_scenes(given, size.side)
    print("# Two processes and one\n")
    print(f"{datetime.date.today()}, {machine()}, PyTorch {torch.__version__}.")
    print("Written by `python benchmarks/processes.py" + (" --quick" if given.quick else "") + "`.\n")
    print(f"U-Net {size.width} with group norm on {title}, {size.steps} steps of {size.batch} × {size.side}², fp32.")
    print("Largest relative difference of the loss at any step:\n")
    print(report(curves_of))
    return 0


if __name__ == "__main__":
    sys.exit(main())
