"""A slice of the paper's study compared with the order of work of its authors' code: `make bench`.

The authors' side is plain PyTorch in float32: Pillow decodes, resizes and crops every item of every batch, each network
of mutual learning takes three forward passes per step, region mutual information is `rmi-pytorch` without pooling on
one-hot maps that are created in every step, and evaluation keeps the predictions of five passes before it compares them
class by class. segmi's side reads the same images from a cache and chooses its number format itself. Both take turns in
one process; times are medians.
"""

from __future__ import annotations

import datetime
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
import data as decoding
import evaluation
from surroundings import machine, training_parser

import training
from segmi.datasets import DatasetReader, SegmentationDataset
from segmi.datasets.processing import Processing
from segmi.metrics import ConfusionMatrix, class_iou
from segmi.models import build_network
from segmi.training.precision import ResolvedPrecision
from segmi.types import Batch

CLASSES = 19  # of the layout of Cityscapes, in which the scenes are saved
FP32 = ResolvedPrecision("fp32", "contiguous")


def peers(size: training.Size) -> dict[str, nn.Module]:
    return {"deeplab": build_network(size.backbone, classes=CLASSES), "unet": unet(size)}


def unet(size: training.Size) -> nn.Module:
    return build_network("unet", classes=CLASSES, width=size.width)


def decoded(dataset: DatasetReader, processing: Processing, count: int) -> Iterator[Batch]:
    """Yield batches that are decoded every time."""
    samples = dataset.split("train")
    for number in itertools.count():
        some = [samples[(number * count + index) % len(samples)] for index in range(count)]
        pixels = decoding.decoded_batch(dataset, some, processing, number)
        yield Batch(*decoding.to_training_types(*pixels))


def cached(images: SegmentationDataset, count: int) -> Iterator[Batch]:
    for number in itertools.count():
        yield images.batch([(number, (number * count + index) % len(images)) for index in range(count)])


def plain_rmi(network: nn.Module, batches: Iterator[Batch]) -> Callable[[], None]:
    """Return a function that does one optimizer step on binary cross-entropy and region mutual information."""
    import rmi

    torch.cholesky = torch.linalg.cholesky  # the package uses a name that was removed
    loss, optimizer = rmi.RMILoss(with_logits=True, stride=1), torch.optim.Adam(network.train().parameters(), lr=1e-4)

    def step() -> None:
        batch = next(batches)
        known = batch.labels.masked_fill(batch.labels == training.IGNORE_INDEX, CLASSES)
        truth = F.one_hot(known, CLASSES + 1)[..., :CLASSES].movedim(-1, 1).float()
        optimizer.zero_grad()
        value = loss(network(batch.images).logits, truth)
        value.backward()
        optimizer.step()
        value.item()

    return step


def predict(network: nn.Module, images: Tensor, chosen: ResolvedPrecision) -> Tensor:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=chosen.dtype == "bf16"):
        return network(images).logits.argmax(1).to(torch.uint8)


def plain_evaluation(network: nn.Module, batches: Iterator[Batch], number: int) -> None:
    pairs = []
    for _ in range(number):
        batch = next(batches)
        pairs.append((predict(network, batch.images, FP32), batch.labels.to(torch.uint8)))
    evaluation.paper(evaluation.Data(*(torch.cat(parts) for parts in zip(*pairs, strict=True))), CLASSES)


def own_evaluation(network: nn.Module, batches: Iterator[Batch], number: int, chosen: ResolvedPrecision) -> None:
    matrix = ConfusionMatrix(CLASSES)
    for _ in range(number):
        batch = next(batches)
        matrix.update(predict(network, batch.images, chosen), batch.labels)
    class_iou(matrix.pooled().numpy())


def pairs(size: training.Size, dataset: DatasetReader, images: SegmentationDataset) -> dict[str, tuple[Any, Any]]:
    """Return the authors' step and segmi's, by part of the study."""
    processing, few, many = images.processing, size.mutual_batch, size.batch
    one = training.chosen_format({"unet": unet(size)}, many, size, "cpu")
    two = training.chosen_format(peers(size), few, size, "cpu")
    mutual: dict[str, Any] = {"cross_entropy": {}, "mutual_learning": {}}
    network, own = unet(size).eval(), unet(size).eval()
    one.apply(own)
    passes = evaluation.PASSES
    return {
        f"Model 1, U-Net {size.width}, a step": (
            training.plain(unet(size), decoded(dataset, processing, many), "cpu"),
            training.ours({"unet": unet(size)}, {"cross_entropy": {}}, one, cached(images, many), "cpu"),
        ),
        f"Model 2, U-Net {size.width} with RMI, a step": (
            plain_rmi(unet(size), decoded(dataset, processing, few)),
            training.ours({"unet": unet(size)}, {"rmi_loss": {}}, one, cached(images, few), "cpu"),
        ),
        "Model 3, mutual learning, a step": (
            training.plain_mutual(peers(size), FP32, decoded(dataset, processing, few), "cpu"),
            training.ours(peers(size), mutual, two, cached(images, few), "cpu"),
        ),
        f"Evaluation, {passes} passes of {few} crops": (
            partial(plain_evaluation, network, decoded(dataset, processing, few), passes),
            partial(own_evaluation, own, cached(images, few), passes, one),
        ),
    }


def main() -> int:
    options = training_parser(__doc__)
    options.add_argument("--rounds", type=int, help="rounds; 4, or 2 with --quick")
    given: Any = options.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    size = training.QUICK if given.quick else training.FULL
    scale = decoding.QUICK if given.quick else decoding.FULL
    processing = Processing(resize=size.side + (0 if given.quick else 10), crop=size.side)
    print(f"# The paper's study, a slice\n\n{datetime.date.today()}, {machine()}, PyTorch {torch.__version__}.")
    print("Written by `python benchmarks/whole_study.py" + (" --quick" if given.quick else "") + "`.\n")
    print(f"Images of {scale.height} × {scale.width} in the layout of Cityscapes, crops of {size.side}².\n")
    print("| part | the authors' order of work | segmi | times faster |\n|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        dataset = decoding.save_cityscapes(Path(folder) / "cityscapes", scale)
        images, _ = decoding.cached_images(dataset, processing, Path(folder) / "cache")
        total = [0.0, 0.0]
        for name, (theirs, own) in pairs(size, dataset, images).items():
            candidates = {"theirs": training.Candidate(theirs), "own": training.Candidate(own, keep_memory=True)}
            times = training.median_seconds(candidates, given.rounds or size.rounds, "cpu")
            total = [total[0] + times["theirs"], total[1] + times["own"]]
            print(f"| {name} | {times['theirs']:.3f} s | {times['own']:.3f} s | {times['theirs'] / times['own']:.2f} |")
    print(f"| together | {total[0]:.3f} s | {total[1]:.3f} s | {total[0] / total[1]:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
