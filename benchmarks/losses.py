"""Time and memory of RMILoss compared with cross-entropy and the package rmi-pytorch: `make bench`.

Time: median over rounds of forward and backward. All losses alternate in one process, so that changes of the machine's
speed affect them alike. Memory: peak above the level before the call, in multiples of the size of the logits, in a
separate process for each loss. All losses get float32 logits and prepared targets: class indices, or for rmi-pytorch
one-hot maps, whose creation is not measured.

The first call of a compiled kernel is measured in new processes, with an empty and with a full cache.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from surroundings import data_folder, machine, status

from segmi.datasets import open_dataset
from segmi.losses import BinaryCrossEntropy, RegionMutualInformation, RMILoss

IGNORE_INDEX = 255
FIRST, OURS, RIVAL = "cross-entropy (torch)", "RMILoss", "rmi-pytorch, stride 1"
POOLED_RIVALS = {"average": "rmi-pytorch, average by 4", "max": "rmi-pytorch, maximum by 4"}


class Case(NamedTuple):
    title: str
    images: int
    classes: int
    side: int
    labels: Callable[[int, int, int], Tensor]


def object_labels(images: int, classes: int, side: int) -> Tensor:
    """Return labels as in VOC: background, and one or two classes as ellipses and rectangles with ignored rims."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side] / side
    labels = np.zeros((images, side, side), np.int64)
    for number, image in enumerate(labels):
        for one, kind in enumerate(rng.choice(np.arange(1, classes), 1 + number % 2, replace=False)):
            center, half = rng.uniform(0.3, 0.7, 2), rng.uniform(0.12, 0.28, 2)
            away = np.abs(rows - center[0]) / half[0], np.abs(columns - center[1]) / half[1]
            distance = np.maximum(*away) if (number + one) % 2 else np.hypot(*away)
            image[distance < 1.06] = IGNORE_INDEX
            image[distance < 1] = kind
    return torch.from_numpy(labels)


def camvid_labels(images: int, classes: int, side: int) -> Tensor:
    """Return label maps of CamVid with ignored pixels as a class; FileNotFoundError if CamVid is not installed."""
    root = data_folder() / "CamVid"
    if not root.is_dir():
        raise FileNotFoundError(f"expected the folder {root}. Fix: set SEGMI_DATA to the folder that contains CamVid/.")
    dataset = open_dataset("camvid", root=root)
    every = dataset.split("val")
    masks = [dataset.read_mask(sample)[:side, :side] for sample in every[:: len(every) // images][:images]]
    return torch.from_numpy(np.minimum(np.stack(masks), classes - 1)).long()


def dense_labels(images: int, classes: int, side: int) -> Tensor:
    """Return Voronoi cells of 60 points: nearly every class in every image."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.mgrid[:side, :side], -1)[..., None, :]
    labels = np.empty((images, side, side), np.int64)
    for image in labels:
        points = rng.uniform(0, side, (60, 2))
        nearest = ((grid - points) ** 2).sum(-1).argmin(-1)
        image[:] = rng.integers(0, classes, 60)[nearest]
    return torch.from_numpy(labels)


FULL = {
    "objects-2": Case("objects, as in VOC", 2, 21, 224, object_labels),
    "objects-8": Case("objects, as in VOC", 8, 21, 224, object_labels),
    "camvid": Case("CamVid labels, ignored pixels as a class", 8, 12, 224, camvid_labels),
    "dense": Case("nearly every class in every image", 8, 21, 224, dense_labels),
    "large": Case("objects, large", 8, 19, 512, object_labels),
}
QUICK = {name: case._replace(images=2, side=48) for name, case in FULL.items()}


def candidates(case: Case) -> dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]:
    """Return losses of (logits, labels, one-hot labels) by name."""
    pixels, region = BinaryCrossEntropy(), RegionMutualInformation()
    default, corrected, plain = RMILoss(), RMILoss(variant="corrected"), RMILoss(kernel="torch")
    losses: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
        FIRST: lambda z, y, _: F.cross_entropy(z, y, ignore_index=IGNORE_INDEX),
        OURS: lambda z, y, _: default(z, y),
        "RMILoss, corrected": lambda z, y, _: corrected(z, y),
        "BinaryCrossEntropy + RegionMutualInformation": lambda z, y, _: pixels(z, y) + region(z, y),
        "RMILoss, PyTorch routine": lambda z, y, _: plain(z, y),
    }
    losses["RMILoss, softmax"] = partial(_call, RMILoss(probability="softmax"))
    for pooling, probability, variant in product(
        ("average", "max", "interpolation"), ("sigmoid", "softmax"), ("published", "corrected")
    ):
        options: Any = {"pooling": pooling, "probability": probability, "variant": variant}
        losses[f"RMILoss, {pooling}, {probability}, {variant}"] = partial(_call, RMILoss(stride=4, **options))
    needed = 80 * 4 * case.images * case.classes * case.side**2
    if needed > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"):
        return losses
    try:
        import rmi
    except ImportError:
        return losses
    torch.cholesky = torch.linalg.cholesky  # the package uses a name that PyTorch has removed
    theirs = rmi.RMILoss(with_logits=True, stride=1)
    average, maximum = (rmi.RMILoss(with_logits=True, stride=4, pool=pool) for pool in ("avg", "max"))
    return {
        **losses,
        RIVAL: lambda z, _, y: theirs(z, y),
        POOLED_RIVALS["average"]: lambda z, _, y: average(z, y),
        POOLED_RIVALS["max"]: lambda z, _, y: maximum(z, y),
    }


def _call(loss: Callable[..., Tensor], logits: Tensor, labels: Tensor, _: Tensor) -> Tensor:
    return loss(logits, labels)


def rival_of(name: str) -> str:
    """Return the loss of rmi-pytorch with the same pooling; without interpolation, it is compared with averages."""
    if name in POOLED_RIVALS.values():
        return name
    pooling = name.removeprefix("RMILoss, ").split(",")[0].replace("interpolation", "average")
    return POOLED_RIVALS.get(pooling, RIVAL)


def inputs(case: Case, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits like those of a partly trained network, class indices, and one-hot maps (zero where ignored)."""
    labels = case.labels(case.images, case.classes, case.side)
    one_hot = F.one_hot(labels.masked_fill(labels == IGNORE_INDEX, case.classes), case.classes + 1)[..., : case.classes]
    one_hot = one_hot.movedim(-1, 1).float().contiguous()
    noise = torch.randn(one_hot.shape, generator=torch.Generator().manual_seed(0))
    return (3 * one_hot + noise).to(device), labels.to(device), one_hot.to(device)


def step(loss: Callable[..., Tensor], logits: Tensor, labels: Tensor, one_hot: Tensor) -> None:
    leaf = logits.detach().requires_grad_()
    loss(leaf, labels, one_hot).backward()
    if leaf.is_cuda:
        torch.cuda.synchronize()


def seconds(case: Case, rounds: int, device: str) -> dict[str, float]:
    """Return the median time of one forward and backward pass of every loss."""
    data, losses = inputs(case, device), candidates(case)
    times: dict[str, list[float]] = {name: [] for name in losses}
    for number in range(rounds + 1):
        for name, loss in losses.items():
            begin = time.perf_counter()
            step(loss, *data)
            if number:  # the first round warms up
                times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in times.items()}


def peak_bytes(case: Case, name: str, device: str) -> int:
    """Return the rise of this process's memory in one forward and backward pass, including the gradient."""
    data, loss = inputs(case, device), candidates(case)[name]
    step(loss, *(tensor[:1] for tensor in data))  # loads libraries and their buffers
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(loss, *data)
        return torch.cuda.max_memory_allocated() - before
    with suppress(OSError, AttributeError):  # else memory that malloc keeps would be reused and not be counted
        ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = status("VmRSS")
    step(loss, *data)
    return status("VmHWM") - before


def peaks(key: str, given: argparse.Namespace) -> dict[str, int | None]:
    """Return `peak_bytes` of every loss, each in a separate process; None if the system does not report it."""
    results: dict[str, int | None] = {}
    for name in candidates(FULL[key]):
        command = [sys.executable, __file__, "--peak", key, name, "--device", given.device]
        command += ["--threads", str(torch.get_num_threads()), *["--quick"] * given.quick]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        results[name] = int(done.stdout) if done.returncode == 0 else None
    return results


def table(case: Case, times: dict[str, float], memory: dict[str, int | None]) -> str:
    size = 4 * case.images * case.classes * case.side**2
    shape = f"{case.images} × {case.classes} × {case.side} × {case.side}"
    lines = [
        f"## {case.title}: {shape}, logits of {size / 2**20:.1f} MiB",
        "",
        "| loss | forward and backward | × cross-entropy | times faster than rmi-pytorch | peak memory, × logits |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, value in times.items():
        rival = f"{times[rival_of(name)] / value:.1f}" if RIVAL in times else "–"
        peak = memory[name]
        shown = "–" if peak is None else f"{peak / size:.1f}"
        lines.append(f"| {name} | {1e3 * value:.1f} ms | {value / times[FIRST]:.2f} | {rival} | {shown} |")
    return "\n".join(lines)


STEP = """
import time, torch
from segmi.losses.rmi import rmi_loss
logits, labels = torch.zeros(1, 2, 8, 8, requires_grad=True), torch.zeros(1, 8, 8, dtype=torch.long)
begin = time.perf_counter()
rmi_loss(logits, labels, kernel="numba").backward()
print(time.perf_counter() - begin)
"""


def first_calls() -> str:
    """Return the cost of the first call of the CPU kernel in a process, with an empty and with a full cache."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        command = [sys.executable, "-c", STEP]
        empty, full = (
            float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
            for _ in range(2)
        )
    return (
        "## First call\n\n"
        f"With an empty cache: {empty:.1f} s. With a full cache: {full:.2f} s. Both include the import of Numba."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes and few rounds, as a smoke test")
    parser.add_argument("--only", nargs="+", choices=list(FULL), help="only these cases")
    parser.add_argument("--rounds", type=int, help="timed rounds; 7, or 3 with --quick")
    parser.add_argument("--threads", type=int, help="threads of PyTorch on the CPU")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--peak", nargs=2, metavar=("CASE", "LOSS"), help=argparse.SUPPRESS)
    given: Any = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    cases = {key: case for key, case in (QUICK if given.quick else FULL).items() if key in (given.only or FULL)}
    if given.peak:
        key, name = given.peak
        print(peak_bytes(cases[key], name, given.device))
        return 0
    print("# Losses, time and memory\n")
    print(f"{datetime.date.today()}, {machine(given.device)}, PyTorch {torch.__version__}, float32.")
    print("Written by `python benchmarks/losses.py" + (" --quick" if given.quick else "") + "`.\n")
    print("Time: median of forward and backward, all losses alternating in one process. Memory: peak above the level")
    print(
        "before the call, including the gradient, each loss in a separate process. `rmi-pytorch` gets prepared one-hot"
    )
    print("maps; its binary cross-entropy is a mean over classes, and ignored pixels have no class. Pooled losses are")
    print("compared with it at the same pooling, interpolation with its average; those of a softmax too, although its")
    print("probabilities are those of a sigmoid.")
    for key, case in cases.items():
        try:
            times = seconds(case, given.rounds or (3 if given.quick else 7), given.device)
        except FileNotFoundError as error:
            print(f"\n## {case.title}\n\nSkipped: {error}")
            continue
        print("\n" + table(case, times, peaks(key, given)), flush=True)
    if given.device == "cpu":
        print("\n" + first_calls())
    return 0


if __name__ == "__main__":
    sys.exit(main())
