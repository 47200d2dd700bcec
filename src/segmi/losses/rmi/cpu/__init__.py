"""Region mutual information and binary cross-entropy on a CPU, compiled by Numba.

One pass over every map in each direction. Windows are never unfolded, labels are processed at the ends of their runs,
and a map whose label does not vary over the windows costs only its pixel loss. Probabilities are stored in float32;
products and sums are float64, since float32 makes the gradient wrong by percents where covariances are nearly singular.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from segmi.losses.compiled.grad_scale import Scales
from segmi.losses.compiled.runtime import as_array, new_maps, parallel_for, portions
from segmi.losses.rmi.cpu.entries import ImageRuns, _backward_channels, _forward_channels, read_image

__all__ = ["CPUResult", "backward", "compile_entries", "forward"]


class CPUResult(NamedTuple):
    """Result of the forward pass.

    Args:
        pixels, terms, information, counted, coefficients, offsets: see `segmi.losses.rmi.operators.KernelResult`;
            coefficients and offsets are uninitialized where not counted.
        valid: number of pixels that are not ignored.
        jittered: number of covariances that needed more than their ridge to be factored.
        unknown: number of pixels whose id is neither a class nor ignored.
        invalid: whether a logit is NaN.
        gradient: N×C×H×W float32, of ``Σ term · terms + Σ pixel · pixels`` with the predicted scales; None without.
        scales: the predicted scales.
    """

    pixels: Tensor
    terms: Tensor
    information: Tensor
    counted: Tensor
    valid: int
    coefficients: Tensor
    offsets: Tensor
    jittered: int
    unknown: int
    invalid: bool
    gradient: Tensor | None
    scales: Scales | None


def forward(
    logits: Tensor, labels: Tensor, radius: int, published: bool, drop: bool, ridge: float, absent: float, pixels: bool,
    ignore_index: int, predict: Callable[[int, int], Scales] | None = None,
) -> CPUResult:  # fmt: skip
    """Compute pixel losses and terms, and what `backward` needs or its result.

    Args:
        logits: N×C×H×W, float32.
        labels: N×H×W, any integer type.
        radius, published, drop, ridge, absent, pixels: see `segmi.losses.rmi.operators.kernel_options`.
        ignore_index: the label of ignored pixels.
        predict: returns the scales of the gradient for the number of valid pixels and of the pairs whose label varies,
            if they are known in advance; the gradient is then computed in the same pass.
    """
    n, c = logits.shape[:2]
    d = radius * radius
    z, images = as_array(logits), _read(labels, ignore_index, max(c, 2), radius, drop)
    losses, terms, information = np.empty((n, c)), np.empty((n, c)), np.zeros((n, c))
    counted, flags = np.zeros((n, c), bool), np.zeros((n, c, 2), np.int64)  # flags: jittered, NaN
    coefficients, offsets = np.empty((n, c, d, 2 * d)), np.empty((n, c, d))
    varying = _candidates(images, c)  # N×C bool
    valid = sum(int(image.pixels[1:].sum()) for image in images)  # slot 0 has the ignored pixels
    scales = predict(valid, int(varying.sum())) if predict else None
    gradients = new_maps(logits.shape if scales else (n, 1, 0, 0))
    factors: Any = (scales.term, np.float32(scales.pixel)) if scales else (0.0, np.float32(0))

    def run(portion: tuple[int, np.ndarray]) -> None:
        number, channels = portion
        _forward_channels(
            z, number, channels, varying, images[number], radius, published, ridge, absent, pixels, scales is not None,
            *factors, losses, terms, information, counted, coefficients, offsets, flags, gradients,
        )  # fmt: skip

    parallel_for(run, portions(varying))
    return CPUResult(
        pixels=torch.from_numpy(losses),
        terms=torch.from_numpy(terms),
        information=torch.from_numpy(information),
        counted=torch.from_numpy(counted),
        valid=valid,
        coefficients=torch.from_numpy(coefficients),
        offsets=torch.from_numpy(offsets),
        jittered=int(flags[..., 0].sum()),
        unknown=sum(int(image.pixels[1]) for image in images),
        invalid=bool(flags[..., 1].any()),
        gradient=torch.from_numpy(gradients) if scales else None,
        scales=scales,
    )


def backward(
    logits: Tensor, labels: Tensor, counted: Tensor, coefficients: Tensor, offsets: Tensor, term_scale: Tensor,
    pixel_scale: Tensor, radius: int, drop: bool, ignore_index: int,
) -> Tensor:  # fmt: skip
    """Return the gradient of ``Σ term_scale · terms + Σ pixel_scale · pixels`` with respect to the logits, float32.

    Shapes:
        logits, labels, counted, coefficients, offsets: as in `forward` and its result; the scales: N×C.
    """
    c = logits.shape[1]
    z, images = as_array(logits), _read(labels, ignore_index, max(c, 2), radius, drop)
    weights, constants, out = as_array(coefficients), as_array(offsets), new_maps(logits.shape)
    term_scales, pixel_scales = as_array(term_scale.double()), as_array(pixel_scale.double())
    varying = as_array(counted) & (term_scales != 0)

    def run(portion: tuple[int, np.ndarray]) -> None:
        number, channels = portion
        _backward_channels(
            z, number, channels, varying, images[number], radius, weights, constants, term_scales, pixel_scales, out
        )

    parallel_for(run, portions(varying))
    return torch.from_numpy(out)


def compile_entries() -> None:
    """Compile all entry points or load them from the cache, by calls on one pixel."""
    logits, labels, scale = torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, dtype=torch.long), torch.zeros(1, 1)
    result = forward(logits, labels, 1, True, False, 1.0, 0.0, True, 255)
    backward(logits, labels, result.counted, result.coefficients, result.offsets, scale, scale, 1, False, 255)


def _read(labels: Tensor, ignore_index: int, classes: int, radius: int, drop: bool) -> list[ImageRuns]:
    maps, results = as_array(labels.long()), dict[int, ImageRuns]()

    def run(number: int) -> None:
        results[number] = ImageRuns(*read_image(maps[number], ignore_index, classes, radius, drop))

    parallel_for(run, range(len(maps)))
    return [results[number] for number in range(len(maps))]


def _candidates(images: Sequence[ImageRuns], channels: int) -> np.ndarray:
    """Return N×C bool: the pairs with some, but not only, pixels of the class."""
    if not images:
        return np.zeros((0, channels), bool)
    pixels = np.stack([image.pixels for image in images])
    some = (pixels > 0) & (pixels < pixels.sum(1, keepdims=True))
    # contiguous: Numba compiles another version for other strides
    return np.ascontiguousarray(some[:, 3:4] if channels == 1 else some[:, 2:])
