"""Comparison of an exported program with PyTorch on images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segmi.datasets import open_dataset
from segmi.datasets.decode import decode_image
from segmi.deploy.predict_files import find_images
from segmi.deploy.prediction import prepare_image
from segmi.errors import RunError
from segmi.models import SegmentationNetwork, predict_labels
from segmi.models.inference import pad_to_stride

TOLERANCE: Final = 1e-4  # largest accepted difference of a logit
MAX_SIDE: Final = 1024  # larger images are cropped to this side, which bounds the time of the comparison

Program: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From N×3×H×W images to N×C×H×W logits."""


class Parity(NamedTuple):
    """Result of the comparison."""

    images: int
    sizes: int  # number of different image sizes
    difference: float  # largest absolute difference of a logit
    same_class: float  # share of pixels with the same predicted class
    source: str

    def __str__(self) -> str:
        return (
            f"largest difference to PyTorch {self.difference:.1e} over {self.images} images of {self.sizes} "
            f"size{'s' if self.sizes > 1 else ''} ({self.source}), {self.same_class:.4%} of pixels in the same class"
        )


def check_parity(
    network: SegmentationNetwork,
    program: Program,
    images: Sequence[str | Path],
    stride: int,
    threshold: float,
) -> Parity:
    """Run a program and the network on images, one by one and in batches of two, and compare their logits.

    Args:
        network: in evaluation mode.
        program: the exported program.
        images, threshold: as in `segmi.deploy.export.export`.
        stride: divisor of height and width that the program requires.

    Raises:
        RunError: if a logit differs by more, or is NaN.
    """
    source = "given images" if images else "generated scenes"
    largest, same, pixels, count = 0.0, 0, 0, 0
    sizes: set[tuple[int, ...]] = set()
    for batch in _batches(network, _decode(images), stride):
        with torch.inference_mode():
            expected = network(batch).logits
        actual = torch.from_numpy(program(batch.numpy()))
        if actual.shape != expected.shape:
            raise RunError(f"the exported program returns {tuple(actual.shape)}, PyTorch {tuple(expected.shape)}")
        # Written so that NaN fails the comparison below: max() would drop it.
        difference = float((actual - expected).abs().max())
        largest = difference if np.isnan(difference) else max(largest, difference)
        count, sizes = count + len(batch), sizes | {tuple(batch.shape[-2:])}
        if not largest <= TOLERANCE:
            break
        labels = [predict_labels(logits, threshold=threshold) for logits in (actual, expected)]
        same, pixels = same + int((labels[0] == labels[1]).sum()), pixels + labels[0].numel()
    parity = Parity(count, len(sizes), largest, same / max(pixels, 1), source)
    if not largest <= TOLERANCE:
        raise RunError(
            f"the exported program does not agree with PyTorch: {parity}; expected at most {TOLERANCE:.0e}",
            "nothing was written; try another format, or another version of the packages onnx and onnxruntime",
        )
    return parity


def _decode(images: Sequence[str | Path]) -> Iterator[NDArray[np.uint8]]:
    if images:
        yield from (decode_image(image.path) for image in find_images(images))
        return
    for height, width in ((192, 256), (160, 224)):
        scenes = open_dataset("street-scenes", train=2, val=1, height=height, width=width)
        yield from (scenes.read_image(sample) for sample in scenes.split("train"))


def _batches(network: SegmentationNetwork, images: Iterable[NDArray[np.uint8]], stride: int) -> Iterator[Tensor]:
    # Yield every image, or a pair of consecutive images if their padded sizes agree.
    previous: Tensor | None = None
    for pixels in images:
        image = prepare_image(network, pixels)[None, :, :MAX_SIDE, :MAX_SIDE].float() / 255
        padded = pad_to_stride(image, stride)
        if previous is not None and previous.shape == padded.shape:
            yield torch.cat((previous, padded))
            previous = None
        else:
            yield padded
            previous = padded
