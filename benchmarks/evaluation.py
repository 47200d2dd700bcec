"""Time and memory of scoring predictions, beside the study's five passes and torchmetrics: `make bench`.

Predictions and labels are ready made, so that what is measured is the scoring alone. All candidates in turn in one
process; the median over the rounds. Memory: a process of its own for each, its peak above what stood there before.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from surroundings import machine, status

from segmi.metrics import ConfusionMatrix, class_iou

IGNORE_INDEX = 255
PASSES = 5  # of the study
BATCH = 8
OURS, STUDY, RIVAL = "segmi, one pass", "the study, five passes", "torchmetrics, one pass"


class Case(NamedTuple):
    images: int
    classes: int
    side: int


FULL, QUICK = Case(500, 19, 224), Case(20, 19, 64)


class Data(NamedTuple):
    """N×H×W uint8: labels of patches with ignored among them, and predictions of which four in five pixels are right."""

    predictions: Tensor
    labels: Tensor

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(self.predictions.split(BATCH), self.labels.split(BATCH), strict=True)


def data_of(case: Case) -> Data:
    generator = torch.Generator().manual_seed(0)
    patch = 16
    coarse = torch.randint(0, case.classes + 1, (case.images, *2 * [case.side // patch]), generator=generator)
    labels = coarse.to(torch.uint8).repeat_interleave(patch, 1).repeat_interleave(patch, 2)
    guesses = torch.randint(0, case.classes, labels.shape, generator=generator, dtype=torch.uint8)
    wrong = torch.randint(0, 5, labels.shape, generator=generator, dtype=torch.uint8) == 0
    ignored = labels == case.classes
    return Data(torch.where(wrong | ignored, guesses, labels), labels.masked_fill_(ignored, IGNORE_INDEX))


def segmi(data: Data, classes: int) -> float:
    """A matrix per image and one of all."""
    matrix = ConfusionMatrix(classes)
    for predictions, labels in data.batches():
        matrix.update(predictions, labels)
    return float(class_iou(matrix.pooled().numpy()).mean())


def study(data: Data, classes: int) -> float:
    """As the study scored: class indices of all passes kept, joined, and compared class by class."""
    kept: list[tuple[Tensor, Tensor]] = []
    for _ in range(PASSES):
        kept += [(predictions.long(), labels.long()) for predictions, labels in data.batches()]
    predictions, labels = (torch.cat(parts) for parts in zip(*kept, strict=True))
    valid = labels != IGNORE_INDEX
    scores = []
    for index in range(classes):
        predicted, true = (predictions == index) & valid, labels == index
        scores.append((predicted & true).sum() / (predicted | true).sum())
    return float(torch.stack(scores).mean())


def rival(data: Data, classes: int) -> float:
    from torchmetrics.classification import MulticlassJaccardIndex

    metric = MulticlassJaccardIndex(classes, ignore_index=IGNORE_INDEX, validate_args=False)
    for predictions, labels in data.batches():
        metric.update(predictions, labels)
    return float(metric.compute())


CANDIDATES: dict[str, Callable[[Data, int], float]] = {OURS: segmi, STUDY: study, RIVAL: rival}


def seconds(case: Case, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """The median time of every candidate, and the mean IoU that it finds."""
    data = data_of(case)
    times: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    found = {}
    for number in range(rounds + 1):
        for name, candidate in CANDIDATES.items():
            begin = time.perf_counter()
            found[name] = candidate(data, case.classes)
            if number:  # the first round warms up
                times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in times.items()}, found


def peak_bytes(case: Case, name: str) -> int:
    """How far the memory of this process rises while it scores."""
    data, candidate = data_of(case), CANDIDATES[name]
    candidate(Data(*(maps[:BATCH, :32, :32] for maps in data)), case.classes)  # loads what is loaded once
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to what is in use
    before = status("VmRSS")
    candidate(data, case.classes)
    return status("VmHWM") - before


def peaks(given: argparse.Namespace) -> dict[str, int | None]:
    """`peak_bytes` of every candidate, each in a process of its own; None where the system does not tell."""
    found: dict[str, int | None] = {}
    for name in CANDIDATES:
        command = [sys.executable, __file__, "--peak", name, "--threads", str(torch.get_num_threads())]
        done = subprocess.run([*command, *["--quick"] * given.quick], capture_output=True, text=True, check=False)
        found[name] = int(done.stdout) if done.returncode == 0 else None
    return found


def table(times: dict[str, float], found: dict[str, float], memory: dict[str, int | None]) -> str:
    lines = [
        "| scoring | time | × segmi | peak memory | mean IoU |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, value in times.items():
        peak = memory[name]
        shown = "–" if peak is None else f"{peak / 1e6:.0f} MB"
        lines.append(f"| {name} | {1e3 * value:.1f} ms | {value / times[OURS]:.1f} | {shown} | {found[name]:.6f} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes and few rounds, to see that it runs")
    parser.add_argument("--rounds", type=int, help="timed rounds; 7, or 3 with --quick")
    parser.add_argument("--threads", type=int, help="threads of PyTorch")
    parser.add_argument("--peak", metavar="SCORING", help=argparse.SUPPRESS)
    given: Any = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    case = QUICK if given.quick else FULL
    if given.peak:
        print(peak_bytes(case, given.peak))
        return 0
    print("# Evaluation, time and memory\n")
    print(f"{datetime.date.today()}, {machine()}, PyTorch {torch.__version__}.")
    print("Written by `python benchmarks/evaluation.py" + (" --quick" if given.quick else "") + "`.\n")
    print(f"{case.images} predictions of {case.side} × {case.side} pixels, {case.classes} classes, uint8, batches of")
    print(
        f"{BATCH}. Time: median, all in turn in one process. Memory: the peak above what stood there before, each in a"
    )
    print("process of its own. The study scores five passes of crops, which it keeps and joins; segmi and torchmetrics")
    print("score every image once, as the protocol `full` does.\n")
    times, found = seconds(case, given.rounds or (3 if given.quick else 7))
    print(table(times, found, peaks(given)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
