"""Region mutual information and binary cross-entropy on a CPU, compiled by Numba for whatever machine it runs on.

One visit of every map in each direction. Windows are never unfolded, labels are worked on at the ends of their runs,
and a map whose label does not vary over the windows costs its pixel loss alone. Probabilities are kept in float32;
products and sums are float64, without which the gradient is wrong by percents where covariances are nearly singular.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from segmi.losses.rmi.cpu.entries import ImageFile, backward_channels, forward_channels, read_image
from segmi.losses.rmi.cpu.threads import share
from segmi.losses.rmi.grad_scale import Scales

__all__ = ["RegionResult", "backward", "forward"]

_LIGHT: Final = 6
"""How many maps whose label does not vary are taken up at once: about as long as one whose label does."""

_KEPT: Final[dict[tuple[int, ...], np.ndarray]] = {}
"""The room of the last gradient, by its shape. A tensor that uses it, and every view of that, holds a reference."""
_ONLY_KEPT: Final = 3
"""The references to it where nobody else has one: that of `_KEPT`, of the name in `_new_maps`, and of the question."""
_WORTH_KEEPING: Final = 2**20


class RegionResult(NamedTuple):
    """What one visit of the maps finds.

    Args:
        pixels: N×C float64, the binary cross-entropy of the class, summed over valid pixels; 0 where not wanted.
        terms: N×C float64, what is minimized, before the division by d.
        information: N×C float64, I_G in nats.
        counted: N×C bool, the pairs whose label varies over the windows.
        valid: how many pixels are not ignored.
        coefficients: N×C×d×2d float64, K, where counted.
        offsets: N×C×d float64, k₀: the derivative of the term by the window P_i is ``K (P_i, Y_i) - k₀``.
        jittered: how many covariances needed more than their ridge to be factored.
        unknown: how many pixels hold an id that is neither class nor ignored.
        poisoned: whether a logit is NaN.
        gradient: N×C×H×W float32, that of ``Σ term · terms + Σ pixel · pixels`` by the logits for the scales that were
            foreseen; None where none were.
        scales: those scales.
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
    poisoned: bool
    gradient: Tensor | None
    scales: Scales | None


def forward(
    logits: Tensor,
    labels: Tensor,
    *,
    radius: int,
    reference: bool,
    drop: bool,
    ridge: float,
    absent: float,
    pixels: bool,
    ignore_index: int,
    regions: bool = True,
    foresee: Callable[[int, int], Scales] | None = None,
) -> RegionResult:
    """Pixel losses, terms, and what `backward` needs, or what it would give.

    Args:
        logits: N×C×H×W, float32.
        labels: N×H×W, any integer type.
        radius: R.
        reference: whether ``ridge`` is α, added to sums; else it is relative to the mean variance of the label window.
        drop: whether windows with ignored pixels in them are left out; else label and probability are 0 there.
        ridge: see ``published``.
        absent: the term of a pair whose label does not vary.
        pixels: whether the pixel losses are wanted.
        ignore_index: the label of ignored pixels.
        regions: whether the terms are wanted; if not, no pair counts, and only the pixel losses are found.
        foresee: gives the scales of the gradient from the number of valid pixels and of the pairs whose label varies,
            where they are known before; the gradient is then taken in the same visit.
    """
    n, c = logits.shape[:2]
    d = radius * radius
    z, images = _array(logits), _read(labels, ignore_index, max(c, 2), radius, drop)
    summed, terms, information = np.empty((n, c)), np.empty((n, c)), np.zeros((n, c))
    counted, flags = np.zeros((n, c), bool), np.zeros((n, c, 2), np.int64)
    coefficients, offsets = np.empty((n, c, d, 2 * d)), np.empty((n, c, d))
    heavy = _candidates(images, c) & regions
    valid = sum(int(image.pixels[1:].sum()) for image in images)
    scales = foresee(valid, int(heavy.sum())) if foresee else None
    slopes = _new_maps(logits.shape if scales else (n, 1, 0, 0))
    factors = (scales.term, np.float32(scales.pixel)) if scales else (0.0, np.float32(0))

    def run(portion: tuple[int, np.ndarray]) -> None:
        number, channels = portion
        forward_channels(
            z, number, channels, heavy, images[number], radius, reference, ridge, absent, pixels,
            scales is not None, *factors, summed, terms, information, counted, coefficients, offsets, flags, slopes,
        )  # fmt: skip

    share(run, _portions(heavy))
    return RegionResult(
        pixels=torch.from_numpy(summed),
        terms=torch.from_numpy(terms),
        information=torch.from_numpy(information),
        counted=torch.from_numpy(counted),
        valid=valid,
        coefficients=torch.from_numpy(coefficients),
        offsets=torch.from_numpy(offsets),
        jittered=int(flags[..., 0].sum()),
        unknown=sum(int(image.pixels[1]) for image in images),
        poisoned=bool(flags[..., 1].any()),
        gradient=torch.from_numpy(slopes) if scales else None,
        scales=scales,
    )


def backward(
    logits: Tensor,
    labels: Tensor,
    counted: Tensor,
    coefficients: Tensor,
    offsets: Tensor,
    term_scale: Tensor,
    pixel_scale: Tensor,
    *,
    radius: int,
    drop: bool,
    ignore_index: int,
) -> Tensor:
    """The gradient of ``Σ term_scale · terms + Σ pixel_scale · pixels`` by the logits, float32.

    Shapes:
        logits, labels, counted, coefficients, offsets: as in `forward` and its result; the scales: N×C.
    """
    c = logits.shape[1]
    z, images = _array(logits), _read(labels, ignore_index, max(c, 2), radius, drop)
    weights, constants, out = _array(coefficients), _array(offsets), _new_maps(logits.shape)
    term_scales, pixel_scales = _array(term_scale.double()), _array(pixel_scale.double())
    heavy = _array(counted) & (term_scales != 0)

    def run(portion: tuple[int, np.ndarray]) -> None:
        number, channels = portion
        backward_channels(
            z, number, channels, heavy, images[number], radius, weights, constants, term_scales, pixel_scales, out
        )

    share(run, _portions(heavy))
    return torch.from_numpy(out)


def _read(labels: Tensor, ignore_index: int, classes: int, radius: int, drop: bool) -> list[ImageFile]:
    maps, found = _array(labels.long()), dict[int, ImageFile]()

    def run(number: int) -> None:
        found[number] = ImageFile(*read_image(maps[number], ignore_index, classes, radius, drop))

    share(run, range(len(maps)))
    return [found[number] for number in range(len(maps))]


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _candidates(images: Sequence[ImageFile], channels: int) -> np.ndarray:
    """N×C bool: the pairs that hold some pixels of the class, and not all."""
    if not images:
        return np.zeros((0, channels), bool)
    held = np.stack([image.pixels for image in images])
    some = (held > 0) & (held < held.sum(1, keepdims=True))
    return some[:, 3:4] if channels == 1 else some[:, 2:]


def _new_maps(shape: Sequence[int]) -> np.ndarray:
    """Room for float32 maps: that of the gradient before, if nobody holds it any more, else new.

    To map and to clear memory takes up to as long as to compute what is written there. New memory is NumPy's, which
    asks for large pages.
    """
    wanted = tuple(shape)
    kept = _KEPT.get(wanted)
    if kept is not None and sys.getrefcount(kept) == _ONLY_KEPT:
        return kept
    made = np.empty(wanted, np.float32)
    if made.nbytes >= _WORTH_KEEPING:
        _KEPT.clear()
        _KEPT[wanted] = made
    return made


def _portions(heavy: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """All channels of all images, in portions that cost about the same, the largest first."""
    every = np.arange(heavy.shape[1])
    single = [(n, every[c : c + 1]) for n, row in enumerate(heavy.tolist()) for c, one in enumerate(row) if one]
    light = [(n, every[~row]) for n, row in enumerate(heavy)]
    several = [(n, some[begin : begin + _LIGHT]) for n, some in light for begin in range(0, len(some), _LIGHT)]
    return single + several
