"""Time and memory of scoring predictions, compared with the paper's five passes and torchmetrics: `make bench`.

Predictions and labels are computed beforehand, so only the scoring is measured. Candidates take turns in one process;
times are medians over the rounds. Memory is the increase of the peak, measured in a separate process per candidate.
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
PASSES = 5  # in the paper's code
BATCH = 8
OURS, PAPER, REFERENCE = "segmi, one pass", "the paper, five passes", "torchmetrics, one pass"


class Case(NamedTuple):
    images: int
    classes: int
    side: int


FULL, QUICK = Case(500, 19, 224), Case(20, 19, 64)


class Data(NamedTuple):
    """N×H×W uint8: labels of square patches, some ignored, and predictions with 80 % of the pixels correct."""

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
    """Return the mean IoU from a pooled confusion matrix."""
    matrix = ConfusionMatrix(classes)
    for predictions, labels in data.batches():
        matrix.update(predictions, labels)
    return float(class_iou(matrix.pooled().cpu().numpy()).mean())


def paper(data: Data, classes: int) -> float:
    """Return the mean IoU as the paper's code does: keep and join all passes, then compare class by class."""
    pairs: list[tuple[Tensor, Tensor]] = []
    for _ in range(PASSES):
        pairs += [(predictions.long(), labels.long()) for predictions, labels in data.batches()]
    predictions, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    valid = labels != IGNORE_INDEX
    scores = []
    for index in range(classes):
        predicted, true = (predictions == index) & valid, labels == index
        scores.append((predicted & true).sum() / (predicted | true).sum())
    return float(torch.stack(scores).mean())


def torchmetrics_iou(data: Data, classes: int) -> float:
    from torchmetrics.classification import MulticlassJaccardIndex

    metric = MulticlassJaccardIndex(classes, ignore_index=IGNORE_INDEX, validate_args=False).to(data.labels.device)
    for predictions, labels in data.batches():
        metric.update(predictions, labels)
    return float(metric.compute())


CANDIDATES: dict[str, Callable[[Data, int], float]] = {OURS: segmi, PAPER: paper, REFERENCE: torchmetrics_iou}


def seconds(case: Case, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return the median time and the mean IoU of every candidate."""
    data = data_of(case)
    times: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    scores = {}
    for number in range(rounds + 1):
        for name, candidate in CANDIDATES.items():
            begin = time.perf_counter()
            scores[name] = candidate(data, case.classes)
            if number:  # the first round warms up
                times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in times.items()}, scores


def peak_bytes(case: Case, name: str) -> int:
    """Return by how many bytes the memory of this process rises during scoring."""
    data, candidate = data_of(case), CANDIDATES[name]
    candidate(Data(*(maps[:BATCH, :32, :32] for maps in data)), case.classes)  # warm-up: loads libraries and buffers
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, the peak, to the memory in use
    before = status("VmRSS")
    candidate(data, case.classes)
    return status("VmHWM") - before


def peaks(given: argparse.Namespace) -> dict[str, int | None]:
    """Return `peak_bytes` of every candidate from separate processes; None where the system does not report it."""
    result: dict[str, int | None] = {}
    for name in CANDIDATES:
        command = [sys.executable, __file__, "--peak", name, "--threads", str(torch.get_num_threads())]
        done = subprocess.run([*command, *["--quick"] * given.quick], capture_output=True, text=True, check=False)
        result[name] = int(done.stdout) if done.returncode == 0 else None
    return result


def table(times: dict[str, float], scores: dict[str, float], memory: dict[str, int | None]) -> str:
    lines = [
        "| scoring | time | × segmi | peak memory | mean IoU |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, value in times.items():
        peak = memory[name]
        size = "–" if peak is None else f"{peak / 1e6:.0f} MB"
        lines.append(f"| {name} | {1e3 * value:.1f} ms | {value / times[OURS]:.1f} | {size} | {scores[name]:.6f} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke test: tiny sizes and few rounds")
    parser.add_argument("--rounds", type=int, help="timed rounds; 7, or 3 with --quick")
    parser.add_argument("--threads", type=int, help="threads of PyTorch")
    parser.add_argument("--peak", metavar="CANDIDATE", help=argparse.SUPPRESS)
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
        f"{BATCH}. Time: median; the candidates take turns in one process. Memory: increase of the peak, in a separate"
    )
    print("process each. The paper's code keeps, joins and scores five passes of crops; segmi and torchmetrics score")
    print("each image once, like the protocol `full`.\n")
    times, scores = seconds(case, given.rounds or (3 if given.quick else 7))
    print(table(times, scores, peaks(given)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
