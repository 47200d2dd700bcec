"""Whether an exported program says what PyTorch says, on images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from segmi.datasets import open_dataset
from segmi.datasets.decode import decode_image
from segmi.deploy.image import prepared_image
from segmi.deploy.image_files import found_images
from segmi.errors import RunError
from segmi.models import SegmentationNetwork

TOLERANCE: Final = 1e-4
"""The greatest difference of a logit that is let pass."""

LONGEST: Final = 1024
"""Longer images are cut to this: a difference shows in any part."""


class Agreement(NamedTuple):
    """What the comparison found.

    Args:
        images: how many were compared.
        sizes: how many different sizes they had.
        difference: the greatest absolute difference of a logit.
        same_class: the share of pixels that both give to the same class.
        on: which images, in words.
    """

    images: int
    sizes: int
    difference: float
    same_class: float
    on: str

    def __str__(self) -> str:
        return (
            f"greatest difference to PyTorch {self.difference:.1e} over {self.images} images of {self.sizes} "
            f"size{'s' if self.sizes > 1 else ''} ({self.on}), {self.same_class:.4%} of the pixels of the same class"
        )


def compared(
    network: SegmentationNetwork,
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    images: Sequence[str | Path],
    stride: int,
    tolerance: float = TOLERANCE,
) -> Agreement:
    """Run a program and the network on images, one by one and two together.

    Args:
        network: in evaluation mode.
        run: the program, from N×3×H×W to N×C×H×W.
        images: files and folders; none: generated scenes of several sizes.
        stride: what sides the program takes.
        tolerance: the greatest difference of a logit that is let pass.

    Raises:
        RunError: a logit differs by more, or is no number.
    """
    on = f"{len(images)} that were given" if images else "generated scenes"
    largest, same, pixels, count = 0.0, 0, 0, 0
    sizes: set[tuple[int, ...]] = set()
    for batch in _batches(_prepared(network, _decoded(images)), stride):
        with torch.inference_mode():
            expected = network(batch).logits.numpy()
        found = run(batch.numpy())
        if found.shape != expected.shape:
            raise RunError(f"the exported program gives {found.shape} where PyTorch gives {expected.shape}")
        difference = float(np.abs(found - expected).max())
        largest = difference if np.isnan(difference) else max(largest, difference)
        classes = [values.argmax(1) if values.shape[1] > 1 else values[:, 0] > 0 for values in (found, expected)]
        same, pixels = same + int((classes[0] == classes[1]).sum()), pixels + classes[0].size
        count, sizes = count + len(batch), sizes | {tuple(batch.shape[-2:])}
        if not largest <= tolerance:
            break
    agreement = Agreement(count, len(sizes), largest, same / max(pixels, 1), on)
    if not largest <= tolerance:
        raise RunError(
            f"the exported program does not agree with PyTorch: {agreement}; expected at most {tolerance:.0e}",
            "nothing was written; try another format, or another version of the packages onnx and onnxruntime",
        )
    return agreement


def _decoded(images: Sequence[str | Path]) -> Iterator[NDArray[np.uint8]]:
    if images:
        yield from (decode_image(image.path) for image in found_images(images))
        return
    for height, width in ((192, 256), (160, 224)):
        scenes = open_dataset("street-scenes", train=2, val=1, height=height, width=width)
        yield from (scenes.read_image(sample) for sample in scenes.split("train"))


def _prepared(network: SegmentationNetwork, images: Iterable[NDArray[np.uint8]]) -> Iterator[Tensor]:
    for pixels in images:
        yield prepared_image(network, pixels)[:, :LONGEST, :LONGEST].float() / 255


def _batches(images: Iterable[Tensor], stride: int) -> Iterator[Tensor]:
    """Every image alone, and each with the one before it where their sizes agree, at sides that the program takes."""
    before: Tensor | None = None
    for image in images:
        below, right = (-length % stride for length in image.shape[-2:])
        padded = F.pad(image[None], (0, right, 0, below), mode="replicate")
        paired = before is not None and before.shape == padded.shape
        yield torch.cat((before, padded)) if paired and before is not None else padded
        before = None if paired else padded
