"""Measurements of `gpu.py`: each stage yields lines of Markdown."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
import evaluation
from gpu_device import DEVICE, GPU, with_sums
from surroundings import data_folder

import losses
import training
from segmi.datasets import Processing, SegmentationDataset, open_dataset, training_batches
from segmi.losses import RMILoss, region_kernel
from segmi.losses.rmi.operators import KernelResult, sums_description
from segmi.losses.rmi.rmi_config import RMIConfig
from segmi.models import build_network
from segmi.training.precision import ResolvedPrecision

LIMITS: Final = {"objects": 1.2, "camvid": 2.0, "dense": 3.0}  # times cross-entropy
POOLED: Final = "RMILoss, average"
SUMS: Final = ("float64", "integer")
RIVAL_LIMIT, MEMORY_LIMIT, STEP_LIMIT = 50, 1.3, 0.03
SIZES: Final = [(8, 21, 224), (8, 19, 512), (4, 19, 1024)] if GPU else [(1, 3, 16)]
ROUNDS: Final = 50 if GPU else 2


def rounds_of(step: Callable[[], object]) -> int:
    """Return how many rounds of a step take at most 1.5 seconds, after a warm-up of it."""
    for _ in range(3 if GPU else 1):
        begin = time.perf_counter()
        step()
        if GPU:
            torch.cuda.synchronize()
    return max(3, min(ROUNDS, int(1.5 / (time.perf_counter() - begin)))) if GPU else ROUNDS


def medians(steps: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median milliseconds of every step; all take turns."""
    wanted, times = {name: rounds_of(step) for name, step in steps.items()}, {name: list[float]() for name in steps}
    for number in range(max(wanted.values())):
        for name, step in steps.items():
            if number >= wanted[name]:
                continue
            if GPU:
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                step()
                end.record()
                end.synchronize()
                times[name].append(start.elapsed_time(end))
            else:
                begin = time.perf_counter()
                step()
                times[name].append(1e3 * (time.perf_counter() - begin))
    return {name: statistics.median(values) for name, values in times.items()}


def peak(step: Callable[[], object]) -> int:
    """Return the peak of allocated bytes above the level before the step; 0 on the CPU."""
    if not GPU:
        return 0
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    return torch.cuda.max_memory_allocated() - before


def verdict(missed: bool) -> str:
    return "**misses**" if missed else "holds"


# --- losses


def camvid_labels(images: int, classes: int, side: int) -> Tensor:
    """Return label maps of CamVid, or of generated street scenes where it is not installed, enlarged to the side."""
    root = data_folder()
    name, split = ("camvid", "val") if (root / "CamVid").is_dir() else ("street-scenes", "train")
    dataset = open_dataset(name, root) if name == "camvid" else open_dataset(name, train=images, val=1)
    samples = dataset.split(split)
    masks = [dataset.read_mask(sample) for sample in samples[:: max(1, len(samples) // images)][:images]]
    scale = -(-side // min(min(mask.shape) for mask in masks))
    maps = [torch.from_numpy(mask).repeat_interleave(scale, 0).repeat_interleave(scale, 1) for mask in masks]
    return torch.stack([one[:side, :side] for one in maps]).clamp(max=classes - 1).long()


KINDS: Final = {"objects": losses.object_labels, "camvid": camvid_labels, "dense": losses.dense_labels}


def differentiate(loss: Callable[[Tensor], Tensor], logits: Tensor) -> Tensor:
    leaf = logits.detach().requires_grad_()
    return torch.autograd.grad(loss(leaf), leaf)[0]


def in_graph(loss: Callable[[Tensor], Tensor], logits: Tensor) -> Callable[[], None]:
    """Return the replay of a CUDA graph of forward and backward."""
    leaf, side = logits.detach().requires_grad_(), torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            torch.autograd.grad(loss(leaf), leaf)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        gradient = torch.autograd.grad(loss(leaf), leaf)

    def replay(keep: Any = gradient) -> None:
        graph.replay()

    return replay


def cross_entropy(labels: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda z: F.cross_entropy(z, labels, ignore_index=255)


def on_labels(loss: Callable[..., Tensor], labels: Tensor, one_hot: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda z: loss(z, labels, one_hot)


def compare(kind: str, size: tuple[int, int, int]) -> Iterator[str]:
    """Yield the table of one kind of labels at one size."""
    images, classes, side = size
    case = losses.Case(kind, images, classes, side, KINDS[kind])
    logits, labels, one_hot = losses.inputs(case, DEVICE)
    free = torch.cuda.mem_get_info()[0] if GPU else 2**40
    wanted = [name for name in losses.candidates(case) if name not in (losses.FIRST, losses.OURS)]
    if 80 * logits.nbytes > free or side > 512:
        wanted = [name for name in wanted if not name.startswith("rmi-pytorch")]
    every = losses.candidates(case)
    calls: dict[str, Callable[[Tensor], Tensor]] = {losses.FIRST: cross_entropy(labels)}
    calls |= {name: on_labels(every[name], labels, one_hot) for name in (losses.OURS, *wanted)}
    steps: dict[str, Callable[[], object]] = {
        name: partial(differentiate, call, logits) for name, call in calls.items()
    }
    if GPU:
        for name in (losses.OURS, POOLED):
            steps |= {f"{name}, sums of {kind}": with_sums(kind, steps[name]) for kind in SUMS}
        for name in (losses.FIRST, losses.OURS):
            with suppress(RuntimeError):
                steps[f"{name}, CUDA graph"] = in_graph(calls[name], logits)
    times = medians(steps)
    base, rival = times[losses.FIRST], times.get(losses.RIVAL)
    yield f"### {kind} labels, {images} × {classes} × {side}², logits of {logits.nbytes / 2**20:.0f} MiB\n"
    yield "| loss | ms | × cross-entropy | times faster than rmi-pytorch | peak memory, × logits | limits |"
    yield "|---|---:|---:|---:|---:|---|"
    for name, value in times.items():
        used = 0.0 if "graph" in name else peak(steps[name]) / logits.nbytes
        faster = times[losses.rival_of(name)] / value if rival and "graph" not in name else 0.0
        limits = "–"
        if name == losses.OURS and GPU:
            slow = [value > LIMITS[kind] * base, bool(rival) and faster < RIVAL_LIMIT, used > MEMORY_LIMIT]
            limits = ", ".join(
                f"{limit} {verdict(missed)}"
                for limit, missed in zip((f"≤ {LIMITS[kind]} × CE", f"≥ {RIVAL_LIMIT} ×", f"≤ {MEMORY_LIMIT} × memory"),
                                         slow, strict=True)
            )  # fmt: skip
        yield f"| {name} | {value:.3f} | {value / base:.2f} | {faster:.1f} | {used:.2f} | {limits} |"
    yield ""
    if GPU and times[losses.OURS] > LIMITS[kind] * base:
        yield from profile(steps[losses.OURS])


def profile(step: Callable[[], object]) -> Iterator[str]:
    """Yield the kernels that take the most time in three steps."""
    kinds = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=kinds) as found:
        for _ in range(3):
            step()
        torch.cuda.synchronize()
    table = found.key_averages().table(sort_by="self_device_time_total", row_limit=12, max_name_column_width=48)
    yield "Profile of three steps of `RMILoss`:\n\n```text\n" + table + "\n```\n"


def interpreted() -> Iterator[str]:
    """Yield how the Triton kernels differ from PyTorch in the interpreter."""
    try:
        from segmi.losses.rmi import cuda
    except ImportError as error:
        yield f"Triton's interpreter: {error}.\n"
        return
    config = RMIConfig()
    logits, labels = torch.randn(1, 2, 9, 10), torch.arange(90).view(1, 9, 10) // 4 % 2
    expected = RMILoss(kernel="torch").terms(logits, labels)["region_mutual_information"].numerator
    options = (3, True, False, config.ridge, config.absent_value, True, 255)
    for kind in SUMS:
        found = KernelResult(*with_sums(kind, partial(cuda.forward, logits, labels, *options))())
        difference = float((found.terms.sum() / config.dimension - expected).abs())
        yield f"Triton's interpreter with sums of {kind} and PyTorch differ by {difference:.1e} in the region term.\n"
        if not difference < 1e-5:
            raise RuntimeError(f"expected a difference of at most 1e-5, got {difference}")


def loss_stage() -> Iterator[str]:
    kernel = region_kernel(torch.zeros(1, 2, 8, 8, device=DEVICE))
    yield f"`RMILoss` uses the routine `{kernel}`" + (", which agrees with PyTorch.\n" if kernel == "triton" else ".\n")
    if GPU:
        yield f"Its kernels sum {sums_description(torch.device(DEVICE, torch.cuda.current_device()))}.\n"
    if not GPU:
        yield from interpreted()
    for size in SIZES:
        for kind in KINDS:
            yield from compare(kind, size)


# --- training, evaluation, data


def architectures() -> dict[str, dict[str, Any]]:
    if not GPU:
        return {"unet": {"width": 2}}
    return {"unet": {"width": 32}, "deeplabv3_resnet50": {}, "smp_segformer": {}}


def segmentation_network(name: str, options: dict[str, Any]) -> torch.nn.Module:
    return build_network(name, classes=training.CLASSES, encoder_weights=None, **options)


def step_stage() -> Iterator[str]:
    size = training.FULL if GPU else training.QUICK._replace(side=32)
    precision = ResolvedPrecision("bf16", "channels_last") if GPU else ResolvedPrecision("fp32", "contiguous")
    data = training.batches(size, size.batch, DEVICE)
    objectives: dict[str, dict[str, Any]] = {
        "cross-entropy": {"cross_entropy": {}},
        "cross-entropy + RMI": {"cross_entropy": {}, "region_mutual_information": {}},
        "`rmi_loss`": {"rmi_loss": {}},
    }
    yield f"Steps of {size.batch} × {size.side}² in {precision.dtype}, with the optimizer.\n"
    yield "| network | loss | ms | images/s | over cross-entropy | limit |"
    yield "|---|---|---:|---:|---:|---|"
    for name, options in architectures().items():
        try:
            steps = {
                key: training.ours({"net": segmentation_network(name, options)}, terms, precision, data, DEVICE)
                for key, terms in objectives.items()
            }
        except Exception as error:  # an optional package is missing
            yield f"| {name} | {type(error).__name__}: {error} | – | – | – | – |"
            continue
        times = medians(steps)
        for key, value in times.items():
            more = value / times["cross-entropy"] - 1
            limit = f"≤ {STEP_LIMIT:.0%} {verdict(more > STEP_LIMIT)}" if GPU and key != "cross-entropy" else "–"
            yield f"| {name} | {key} | {value:.2f} | {1e3 * size.batch / value:.0f} | {more:+.1%} | {limit} |"


def mutual_stage() -> Iterator[str]:
    size = training.FULL if GPU else training.QUICK._replace(side=64)
    precision = ResolvedPrecision("bf16", "channels_last") if GPU else ResolvedPrecision("fp32", "contiguous")
    data = training.batches(size, size.mutual_batch, DEVICE)
    terms: dict[str, Any] = {"cross_entropy": {}, "mutual_learning": {}}
    times = medians(
        {
            "three forward passes each, in the order of the paper's code": training.plain_mutual(
                training.peers(size), precision, data, DEVICE
            ),
            "segmi, one forward pass each": training.ours(training.peers(size), terms, precision, data, DEVICE),
        }
    )
    yield from ["| step | ms | × segmi |", "|---|---:|---:|"]
    yield from (f"| {name} | {value:.2f} | {value / list(times.values())[-1]:.2f} |" for name, value in times.items())


def evaluation_stage() -> Iterator[str]:
    case = evaluation.FULL if GPU else evaluation.QUICK
    data = evaluation.Data(*(maps.to(DEVICE) for maps in evaluation.data_of(case)))
    steps = {name: partial(call, data, case.classes) for name, call in evaluation.CANDIDATES.items()}
    scores = {name: float(step()) for name, step in steps.items()}
    times = medians(steps)
    yield f"{case.images} predictions of {case.side}², {case.classes} classes, on the device.\n"
    yield from ["| scoring | ms | × segmi | mean IoU |", "|---|---:|---:|---:|"]
    for name, value in times.items():
        yield f"| {name} | {value:.1f} | {value / times[evaluation.OURS]:.1f} | {scores[name]:.6f} |"


def loader_stage() -> Iterator[str]:
    side, batch, number = (224, 8, 60) if GPU else (32, 2, 4)
    scenes = open_dataset("street-scenes", train=4 * batch, val=1, height=side + 8, width=side + 8)
    images = SegmentationDataset(scenes, scenes.split("train"), Processing(resize=None, crop=side, flip=0.5))
    for _ in training_batches(images, batch_size=batch, first=0, last=8):  # draws the scenes
        pass
    begin = time.perf_counter()
    for one in training_batches(images, batch_size=batch, first=0, last=number):
        one.to(DEVICE)
    rate = number * batch / (time.perf_counter() - begin)
    yield f"One process reads, crops, flips and copies {rate:.0f} images/s of {side}²; compare with the steps above."
