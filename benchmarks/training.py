"""Time of a training step compared with a plain PyTorch loop, and profile of a run: `make bench`.

The plain loop is in this file: float32, PyTorch's default layout and optimizer, and for mutual learning the order of
the paper's code, three forward passes of each network per step. Candidates take turns in one process, so that changes
of the machine's speed affect them alike; times are medians over the rounds. A turn is five steps; the last three
are timed, and the first two bring the memory into the candidate's own state, because segmi keeps freed memory during
a run (`segmi.training.allocator`) and a plain loop does so only where the table says it.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent))
from surroundings import camvid_or_scenes, machine, training_parser

from segmi.datasets import open_dataset
from segmi.datasets.cache import entry_key, prepare
from segmi.datasets.processing import Processing
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.losses import build_objective
from segmi.models import build_network
from segmi.training import Budget, Cohort, LoggingConfig, OptimizationConfig, RuntimeConfig, fit
from segmi.training.allocator import keep_freed_memory
from segmi.training.optimization import build_optimizer
from segmi.training.precision import ResolvedPrecision, choose_precision
from segmi.training.session import Runtime, Session
from segmi.types import Batch

IGNORE_INDEX = 255
CLASSES = 12
UNTIMED, TIMED = 2, 3  # steps of a turn


class Size(NamedTuple):
    width: int
    run_width: int
    backbone: str
    side: int
    batch: int
    mutual_batch: int
    rounds: int
    steps: int
    matrix: int


FULL = Size(32, 16, "deeplabv3_resnet50", 224, 8, 4, 4, 60, 2048)
QUICK = Size(2, 2, "deeplabv3_mobilenet_v3_large", 64, 2, 2, 2, 4, 256)


def unet(width: int) -> nn.Module:
    return build_network("unet", classes=CLASSES, width=width)


def peers(size: Size) -> dict[str, nn.Module]:
    return {"deeplab": build_network(size.backbone, classes=CLASSES), "unet": unet(size.width)}


def batches(size: Size, count: int, device: str) -> Iterator[Batch]:
    """Return the same generated street scenes again and again, so that reading is not measured."""
    scenes = open_dataset("street-scenes", train=count, val=1, height=size.side, width=size.side)
    images = SegmentationDataset(scenes, scenes.split("train"), Processing(resize=None, crop=size.side))
    return itertools.repeat(images.batch([(0, index) for index in range(count)]).to(device))


def ours(
    networks: dict[str, nn.Module], terms: dict[str, Any], chosen: ResolvedPrecision, data: Iterator[Batch], device: str
) -> Callable[[], None]:
    """Return a function that does one optimizer step like `segmi.training.fit`."""
    cohort = Cohort(networks)
    built = build_objective(terms, networks=list(networks))
    optimizer = build_optimizer([*cohort.parameters(), *built.parameters()], "Adam", 1e-4)
    runtime = Runtime(device=torch.device(device), precision=chosen)
    session = Session(cohort, built, optimizer, None, runtime=runtime, seed=0, clip_norm=None)

    def step() -> None:
        session.train_step(data, 1)
        session.fetch_metrics()

    return step


def plain(network: nn.Module, data: Iterator[Batch], device: str) -> Callable[[], None]:
    """Return a function that does one optimizer step in plain PyTorch: fp32, default layout."""
    network.to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)

    def step() -> None:
        batch = next(data)
        optimizer.zero_grad()
        loss = F.cross_entropy(network(batch.images).logits, batch.labels, ignore_index=IGNORE_INDEX)
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def plain_mutual(
    networks: dict[str, nn.Module], chosen: ResolvedPrecision, data: Iterator[Batch], device: str
) -> Callable[[], None]:
    """Return a function that does one step of mutual learning in the order of the paper's code, network by network:
    a forward pass for the labels, another one and a detached one of the peer for the divergence, the optimizer step."""
    modules = list(networks.values())
    for network in modules:
        network.to(device).train()
        chosen.apply(network)
    optimizers = [torch.optim.Adam(network.parameters(), lr=1e-4) for network in modules]
    bf16 = chosen.dtype == "bf16"

    def logits(network: nn.Module, images: Tensor) -> Tensor:
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
            return network(images).logits.float()

    def step() -> None:
        batch = next(data)
        valid = (batch.labels != IGNORE_INDEX).unsqueeze(1)
        for network, peer, optimizer in zip(modules, reversed(modules), optimizers, strict=True):
            optimizer.zero_grad()
            loss = F.cross_entropy(logits(network, batch.images), batch.labels, ignore_index=IGNORE_INDEX)
            own = logits(network, batch.images).log_softmax(1)
            other = logits(peer, batch.images).detach().log_softmax(1)
            divergence = F.kl_div(own, other, log_target=True, reduction="none") * valid
            (loss + divergence.sum() / valid.sum()).backward()
            optimizer.step()
        loss.item()

    return step


class Candidate(NamedTuple):  # a step, and whether freed memory is kept for the next one
    step: Callable[[], None]
    keep_memory: bool = False


def median_seconds(candidates: dict[str, Candidate], rounds: int, device: str) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, (step, keep_memory) in candidates.items():
            with keep_freed_memory(torch.device(device)) if keep_memory else nullcontext():
                for _ in range(UNTIMED):
                    step()
                for _ in range(TIMED):
                    begin = time.perf_counter()
                    step()
                    if number:  # the first round warms up
                        times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in times.items()}


def matrix_rate(size: Size, precision: str, device: str) -> float:
    """Return the floating-point operations per second of a product of square matrices, the best of several."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = (torch.randn(size.matrix, size.matrix, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(3 * size.rounds):
        begin = time.perf_counter()
        (left @ right)[0, 0].item()
        best = min(best, time.perf_counter() - begin)
    return 2 * size.matrix**3 / best


def chosen_format(networks: dict[str, nn.Module], count: int, size: Size, device: str) -> ResolvedPrecision:
    return choose_precision("auto", Cohort(networks), torch.device(device), images=count, side=size.side)


def step_section(size: Size, device: str) -> str:
    data = batches(size, size.batch, device)
    chosen = chosen_format({"unet": unet(size.width)}, size.batch, size, device)
    with FlopCounterMode(display=False) as counter:
        unet(size.width).to(device)(next(data).images).logits.sum().backward()
    operations = counter.get_total_flops()
    rate = matrix_rate(size, chosen.dtype, device)
    plain_step = plain(unet(size.width), data, device)
    candidates = {
        "plain, cross-entropy": Candidate(plain_step),
        "plain, cross-entropy, freed memory kept": Candidate(plain_step, keep_memory=True),
    }
    for name, loss in (("cross-entropy", "cross_entropy"), ("`rmi_loss`", "rmi_loss")):
        step = ours({"unet": unet(size.width)}, {loss: {}}, chosen, data, device)
        candidates[f"segmi, {name}"] = Candidate(step, keep_memory=True)
    times = median_seconds(candidates, size.rounds, device)
    base, own = times["plain, cross-entropy"], times["segmi, cross-entropy"]
    lines = [
        f"## U-Net {size.width}, a step of {size.batch} × {size.side}²",
        "",
        f"`precision: auto` chooses {chosen.describe()}.",
        f"The machine multiplies {size.matrix}² {chosen.dtype} matrices at {rate / 1e9:.0f} GFLOP/s; "
        f"the step takes {operations / 1e9:.1f} GFLOP.",
        "",
        "| step | time | images/s | speed-up | share of the matrix rate | relative to segmi's cross-entropy |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, value in times.items():
        share, more = operations / value / rate, f"{value / own - 1:+.1%}" if name.startswith("segmi") else "–"
        lines.append(
            f"| {name} | {1e3 * value:.0f} ms | {size.batch / value:.2f} | {base / value:.2f} | {share:.0%} | {more} |"
        )
    return "\n".join(lines)


def mutual_section(size: Size, device: str) -> str:
    data = batches(size, size.mutual_batch, device)
    chosen = chosen_format(peers(size), size.mutual_batch, size, device)
    default = ResolvedPrecision("fp32", "contiguous")
    objective = {"cross_entropy": {}, "mutual_learning": {}}
    three = plain_mutual(peers(size), chosen, data, device)
    candidates = {
        "three forward passes each, fp32, default layout": Candidate(plain_mutual(peers(size), default, data, device)),
        "three forward passes each, segmi's format": Candidate(three),
        "three forward passes each, segmi's format, freed memory kept": Candidate(three, keep_memory=True),
        "segmi, one forward pass each": Candidate(ours(peers(size), objective, chosen, data, device), keep_memory=True),
    }
    times = median_seconds(candidates, size.rounds, device)
    own = times["segmi, one forward pass each"]
    lines = [
        f"## Mutual learning, {size.backbone} and U-Net {size.width}, a step of {size.mutual_batch} × {size.side}²",
        "",
        f"`precision: auto` chooses {chosen.describe()}.",
        "",
        "| step | time | × segmi |",
        "|---|---:|---:|",
        *(f"| {name} | {1e3 * value:.0f} ms | {value / own:.2f} |" for name, value in times.items()),
    ]
    return "\n".join(lines)


def run_section(size: Size, given: argparse.Namespace) -> str:
    from segmi.records.serialization import read_record

    dataset, title = camvid_or_scenes(given, size.side)
    side = size.side
    samples, processing = dataset.split("train"), Processing(resize=side + 10, crop=side)
    cohort = Cohort({"unet": build_network("unet", classes=len(dataset.info.classes), width=size.run_width)})
    objective = build_objective({"cross_entropy": {}}, networks=["unet"])
    key = entry_key(dataset, "train", samples, resize=processing.resize)
    with tempfile.TemporaryDirectory() as folder:
        store = prepare(Path(folder) / "cache", dataset, samples, key) if key else None
        images = SegmentationDataset(dataset, samples, processing, prepared=store)
        fit(
            cohort, objective, images, folder=Path(folder) / "run",
            budget=Budget(steps=size.steps), optimization=OptimizationConfig(batch_size=size.batch),
            runtime=RuntimeConfig(device=given.device),
            logging=LoggingConfig(
                select_by="last", profile=True, validate_every=size.steps, checkpoint_every=size.steps
            ),
        )  # fmt: skip
        profile = read_record(Path(folder) / "run" / "profile.json") or {}
    parts = {row["part"]: row for row in profile["parts"]}
    outside = ("validation", "checkpoint")
    training = sum(row["seconds"] for name, row in parts.items() if name not in outside)
    spent = sum(parts[name]["seconds"] for name in ("forward", "backward", "optimizer"))
    lines = [
        f"## A run: U-Net {size.run_width} on {title}, {profile['steps']} steps of {size.batch} × {side}²",
        "",
        f"**{1 - spent / training:.1%}** of the time of the training steps is not forward, backward or optimizer.",
        "The images come from the cache." if store else "The images are generated when they are first read.",
        "",
        "| part | share | ms per step |",
        "|---|---:|---:|",
        *(f"| {name} | {row['share']:.1%} | {row['ms_per_step']:.2f} |" for name, row in parts.items()),
    ]
    return "\n".join(lines)


def main() -> int:
    options = training_parser(__doc__)
    options.add_argument("--rounds", type=int, help="rounds; 4, or 2 with --quick")
    given: Any = options.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    size = QUICK if given.quick else FULL
    size = size._replace(rounds=given.rounds or size.rounds)
    print("# Training, time\n")
    print(f"{datetime.date.today()}, {machine(given.device)}, PyTorch {torch.__version__}.")
    print("Written by `python benchmarks/training.py" + (" --quick" if given.quick else "") + "`.\n")
    print("Time: median of whole steps with the data in memory; candidates take turns in one process.")
    for section in (lambda: step_section(size, given.device), lambda: mutual_section(size, given.device),
                    lambda: run_section(size, given)):  # fmt: skip
        print("\n" + section(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
