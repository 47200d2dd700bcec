"""Whether two processes train as one does with the joint batch: the loss curves of both, side by side: `make bench`.

A U-Net whose batch norm is replaced by group norm, since batch statistics are those of a process's own images, is
trained on CamVid, or on generated scenes where it is not installed, by one process and by two over gloo, with the same
arguments. SegmentationDataset differ in how much of them is ignored, and so do the processes' shares of a batch. Only the order in
which sums are formed differs, so the curves may differ by rounding; how much that is, shows one process that divides
its sums among two threads instead of one. The learning rate is small: at ten times as much, training magnifies rounding
to a hundredth of the loss within forty steps, between two threads and one as well.
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
from surroundings import machine

from segmi.datasets.processing import Processing
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.losses import build_objective
from segmi.models import build_network
from segmi.training import Budget, Cohort, LoggingConfig, OptimizationConfig, RuntimeConfig, fit
from training import camvid_or_scenes
from training import parser as training_parser

CASES: Final[dict[str, tuple[dict[str, Any], int]]] = {
    "cross-entropy": ({"cross_entropy": {}}, 1),
    "cross-entropy, two batches a step": ({"cross_entropy": {}}, 2),
    "`rmi_loss`": ({"rmi_loss": {}}, 1),
}
"""Loss, and forward passes per step."""

WAYS: Final = {"one process": (1, 1), "one process, 2 threads": (1, 2), "two processes": (2, 1)}
"""Processes, and threads of each."""


class Size(NamedTuple):
    """What is trained."""

    width: int
    side: int
    batch: int
    steps: int


FULL: Final = Size(8, 112, 8, 20)
QUICK: Final = Size(2, 32, 4, 4)


def grouped(network: nn.Module) -> nn.Module:
    """The network with group norm in the place of batch norm: its images have nothing to do with each other."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.GroupNorm(2, child.num_features))
    return network


def train(case: str, size: Size, given: Any, folder: Path, *, processes: int, threads: int) -> list[float]:
    """The loss of every step."""
    objective, accumulate = CASES[case]
    dataset, _ = camvid_or_scenes(given, size.side)
    images = SegmentationDataset(dataset, dataset.split("train"), Processing(resize=size.side + 10, crop=size.side))
    torch.manual_seed(0)
    network = grouped(build_network("unet", classes=len(dataset.info.classes), width=size.width))
    outcome = fit(
        Cohort({"unet": network}), build_objective(objective, networks=["unet"]), images, folder=folder,
        budget=Budget(steps=size.steps),
        optimization=OptimizationConfig(
            batch_size=size.batch, accumulate=accumulate, optimizer="SGD", learning_rate=0.005
        ),
        runtime=RuntimeConfig(precision="fp32", threads=threads, device="cpu", devices=processes),
        logging=LoggingConfig(select_by="last", validate_every=1, checkpoint_every=size.steps, logger=()),
    )  # fmt: skip
    return [row["train/loss"] for row in outcome.history]


def curves(way: str, given: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """The losses of all cases, trained in a process of its own or in two that torchrun starts."""
    processes, threads = WAYS[way]
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    options = ["--data", given.data, *(["--quick"] if given.quick else [])]
    folder.mkdir()
    subprocess.run(
        [sys.executable, *start, __file__, *options, "--part", str(folder), str(processes), str(threads)], check=True
    )
    found: dict[str, list[float]] = json.loads((folder / "crashes.json").read_text())
    return found


def apart(one: list[float], other: list[float]) -> float:
    """The largest difference between two curves, relative to the loss there."""
    return max(abs(a - b) / abs(a) for a, b in zip(one, other, strict=True))


def report(found: dict[str, dict[str, list[float]]]) -> str:
    """A table of the curves of each case, and one of what lies between them."""
    one, threaded, two = found.values()
    lines = ["| loss | two processes against one | two threads against one |", "|---|---:|---:|"]
    lines += [
        f"| {case} | {apart(one[case], two[case]):.1e} | {apart(one[case], threaded[case]):.1e} |" for case in one
    ]
    for case in one:
        count = len(one[case])
        lines += ["", f"## {case}", "", "| step | " + " | ".join(WAYS) + " |", "|---:|" + "---:|" * len(WAYS)]
        for step in sorted({0, count // 4, count // 2, 3 * count // 4, count - 1}):
            losses = " | ".join(f"{curve[case][step]:.7f}" for curve in found.values())
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
            (folder / "crashes.json").write_text(json.dumps(losses))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        found = {way: curves(way, given, Path(folder) / str(number)) for number, way in enumerate(WAYS)}
    _, title = camvid_or_scenes(given, size.side)
    print("# Two processes beside one\n")
    print(f"{datetime.date.today()}, {machine()}, PyTorch {torch.__version__}.")
    print("Written by `python benchmarks/processes.py" + (" --quick" if given.quick else "") + "`.\n")
    print(f"U-Net {size.width} with group norm on {title}, {size.steps} steps of {size.batch} × {size.side}², fp32.")
    print("The largest difference of the loss at any step, relative to it:\n")
    print(report(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
