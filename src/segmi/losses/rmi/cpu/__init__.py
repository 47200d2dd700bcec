"""Region mutual information and binary cross-entropy on a CPU, compiled by Numba.

One pass over every map in each direction. Windows are never unfolded, labels are processed at the ends of their runs,
and a map whose label does not vary over the windows costs only its pixel loss. Probabilities are stored in float32;
products and sums are float64, since float32 makes the gradient wrong by percents where covariances are nearly singular.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from segmi.losses.compiled.grad_scale import Scales
from segmi.losses.compiled.runtime import as_array, new_maps, parallel_for, portions
from segmi.losses.rmi.covariances import moves_absent_classes, skipped_value, value_and_derivative
from segmi.losses.rmi.cpu.entries import ImageRuns, _backward_channels, _forward_channels, read_image
from segmi.losses.rmi.maps import axis_cells, included_windows, pooled_size, shuffled_order
from segmi.losses.rmi.rmi_config import RMIConfig
from segmi.losses.targets import Targets

if TYPE_CHECKING:
    from segmi.losses.rmi.cpu.cells import Cells

__all__ = ["CPUResult", "backward", "compile_entries", "forward"]

# numbered as in `segmi.losses.rmi.cpu.algebra`; the derivatives of other quantities are those of autograd
_CLOSED_FORMS: Final = ("information", "error_determinant", "log_mse", "covariance_matching")


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
    logits: Tensor, labels: Tensor, config: RMIConfig, pixels: bool, ignore_index: int,
    predict: Callable[[int, int], Scales] | None = None,
) -> CPUResult:  # fmt: skip
    """Compute pixel losses and terms, and what `backward` needs or its result.

    Args:
        logits: N×C×H×W, float32.
        labels: N×H×W, any integer type.
        config: see `RMIConfig`.
        pixels: whether to compute the pixel losses.
        ignore_index: the label of ignored pixels.
        predict: returns the scales of the gradient for the number of valid pixels and of the pairs whose label varies,
            if they are known in advance; the gradient is then computed in the same pass, unless autograd computes K.
    """
    n, c = logits.shape[:2]
    d, closed_form = config.dimension, config.quantity in _CLOSED_FORMS
    z, images = as_array(logits), _read(labels, ignore_index, max(c, 2), config)
    cells = _cells(z, labels, ignore_index, images, config)
    windows = np.array([image.windows for image in images])
    losses, terms, information = np.empty((n, c)), np.empty((n, c)), np.zeros((n, c))
    counted, flags = np.zeros((n, c), bool), np.zeros((n, c, 2), np.int64)  # flags: jittered, NaN
    coefficients, offsets = np.empty((n, c, d, 2 * d)), np.empty((n, c, d))
    sums = np.empty((0 if closed_form else n, c, 2 * d, 2 * d + 1))
    varying = _candidates(images, c, windows, config)  # N×C bool
    valid = sum(int(image.pixels[1:].sum()) for image in images)  # slot 0 has the ignored pixels
    scales = predict(valid, int(varying.sum())) if predict and closed_form else None
    gradients = new_maps(logits.shape if scales else (n, 1, 0, 0))
    factors: Any = (scales.term, np.float32(scales.pixel)) if scales else (0.0, np.float32(0))
    number = _CLOSED_FORMS.index(config.quantity) if closed_form else 0
    quantity = number or (None if cells is None else 0)  # None: the ablations are not compiled
    published, moves, absent = config.variant == "published", moves_absent_classes(config), skipped_value(config)
    options = config.radius, published, config.ridge, quantity, moves, absent, pixels
    results = losses, terms, information, counted, coefficients, offsets, sums, flags, gradients
    cells = _pool_softmax(z, labels, ignore_index, varying, config, cells)
    kernel = _forward_channels
    if cells is not None:
        from segmi.losses.rmi.cpu.cells import _forward_cells as kernel

    def run(portion: tuple[int, np.ndarray]) -> None:
        number, channels = portion
        inputs = z, number, channels, varying, images[number], *(() if cells is None else (cells,))
        kernel(*inputs, *options, scales is not None, *factors, *results)

    parallel_for(run, portions(varying))
    if scales:
        _softmax_backward(z, labels, ignore_index, varying, cells, gradients)
    result = CPUResult(
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
    return result if closed_form else _solve(result, sums, windows, config)


def backward(
    logits: Tensor, labels: Tensor, counted: Tensor, coefficients: Tensor, offsets: Tensor, term_scale: Tensor,
    pixel_scale: Tensor, config: RMIConfig, ignore_index: int,
) -> Tensor:  # fmt: skip
    """Return the gradient of ``Σ term_scale · terms + Σ pixel_scale · pixels`` with respect to the logits, float32.

    Shapes:
        logits, labels, counted, coefficients, offsets: as in `forward` and its result; the scales: N×C.
    """
    c = logits.shape[1]
    z, images = as_array(logits), _read(labels, ignore_index, max(c, 2), config)
    cells = _cells(z, labels, ignore_index, images, config)
    term_scales, pixel_scales = as_array(term_scale.double()), as_array(pixel_scale.double())
    varying = (as_array(counted) | moves_absent_classes(config)) & (term_scales != 0)
    weights, out = (as_array(coefficients), as_array(offsets), term_scales, pixel_scales), new_maps(logits.shape)

    cells = _pool_softmax(z, labels, ignore_index, varying, config, cells)
    kernel = _backward_channels
    if cells is not None:
        from segmi.losses.rmi.cpu.cells import _backward_cells as kernel

    def run(portion: tuple[int, np.ndarray]) -> None:
        number, channels = portion
        inputs = z, number, channels, varying, images[number], *(() if cells is None else (cells,))
        kernel(*inputs, config.radius, *weights, out)

    parallel_for(run, portions(varying))
    _softmax_backward(z, labels, ignore_index, varying, cells, out)
    return torch.from_numpy(out)


def compile_entries(**options: Any) -> None:
    """Compile all entry points or load them from the cache, by calls on one pixel; a softmax uses `cells`."""
    config, scale = RMIConfig(radius=1, alpha=1.0, **options), torch.zeros(1, 2)
    logits, labels = torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1, dtype=torch.long)
    result = forward(logits, labels, config, True, 255)
    backward(logits, labels, result.counted, result.coefficients, result.offsets, scale, scale, config, 255)


def _pool_softmax(
    z: np.ndarray, labels: Tensor, ignore_index: int, varying: np.ndarray, config: RMIConfig, cells: Cells | None
) -> Cells | None:
    """Return the cells with the pooled probabilities of the ``varying`` pairs, if they are those of a softmax."""
    if cells is None or config.probability != "softmax":
        return cells
    from segmi.losses.compiled.softmax import pool_softmax

    size, pairs = cells.softmax.shape[1:], varying.sum()
    cells = cells._replace(
        softmax=np.empty((pairs, *size)),
        at=np.empty((pairs, *(size if cells.maximum else (1, 0))), np.int64),
        slots=(varying.cumsum() - 1).reshape(varying.shape),
    )
    valid, grids = as_array(labels != ignore_index), (cells.grid, cells.maximum, cells.shift)

    def run(strip: tuple[int, int, int, np.ndarray, slice]) -> None:
        n, begin, end, channels, maps = strip
        pool_softmax(z[n], valid[n], channels, *grids, begin, end, cells.softmax[maps], cells.at[maps])

    parallel_for(run, _strips(varying, size[0]))
    return cells


def _softmax_backward(
    z: np.ndarray, labels: Tensor, ignore_index: int, varying: np.ndarray, cells: Cells | None, out: np.ndarray
) -> None:
    """Add the gradient with respect to the logits of a softmax, from that by its pooled probabilities."""
    if cells is None or not cells.softmax.size:
        return
    from segmi.losses.compiled.softmax import softmax_backward

    valid, grids = as_array(labels != ignore_index), (cells.grid, cells.maximum)

    def run(strip: tuple[int, int, int, np.ndarray, slice]) -> None:
        n, begin, end, channels, maps = strip
        softmax_backward(z[n], valid[n], channels, *grids, begin, end, cells.softmax[maps], cells.at[maps], out[n])

    parallel_for(run, _strips(varying, cells.softmax.shape[1]))


def _strips(varying: np.ndarray, height: int, rows: int = 16) -> Iterator[tuple[int, int, int, np.ndarray, slice]]:
    """Yield image, first and last row of strips of the feature grid, varying channels and their maps."""
    stop = varying.sum(1).cumsum()
    for n, channels in enumerate(varying):
        maps = slice(stop[n] - channels.sum(), stop[n])
        for begin in range(0, height, rows):
            yield n, begin, min(begin + rows, height), np.flatnonzero(channels), maps


def _cells(
    z: np.ndarray, labels: Tensor, ignore_index: int, images: list[ImageRuns], config: RMIConfig
) -> Cells | None:
    """Return how maps become maps on the feature grid, or None if they are the probability of a sigmoid.

    The windows of the ``images`` are replaced by the windows of the feature grid.
    """
    if not config.needs_cells:
        return None
    from segmi.losses.compiled.pooling import Grid
    from segmi.losses.rmi.cpu.cells import Cells

    n, _, height, width = z.shape
    index = labels.long()
    valid = index != ignore_index
    targets = Targets(index.masked_fill(~valid, 0), valid, torch.zeros(()))
    h, w = pooled_size((height, width), config)
    whole = np.ones((n, h - config.radius + 1, w - config.radius + 1), bool)
    if config.ignored == "drop" and not valid.all():
        whole = included_windows(targets, config).numpy()
    for number, included in enumerate(whole):
        windows, every = int(included.sum()), included.size
        few = 2 * windows > every  # list the smaller of the two sets
        starts, sign = np.argwhere(included != few).astype(np.int32), 0 if windows == every else -1 if few else 1
        images[number] = images[number]._replace(starts=starts, sign=sign, windows=windows)
    order = np.empty((n, h * w if config.shuffle != "none" else 0), np.int64)

    def write_order(number: int) -> None:  # by image, since operations of PyTorch would wait for all threads
        one = slice(number, number + 1)
        some: Any = shuffled_order(Targets(targets.classes[one], valid[one], targets.invalid), config)
        order[number] = some

    parallel_for(write_order, range(n if order.size else 0))
    axes = [[axis_cells(size, config, label=label) for size in (height, width)] for label in (False, True)]
    grid, label_grid = (Grid(rows[0], columns[0], rows[1], columns[1]) for rows, columns in axes)
    return Cells(
        grid=grid,
        label_grid=label_grid,
        maximum=config.pooling == "max",
        shift=1e-6 if config.pooling == "average" and config.variant == "published" else 0.0,
        whole=whole,
        order=order,
        shuffles_both=config.shuffle == "pixels",
        softmax=np.empty((0, h, w)),
        at=np.empty((0, 1, 0), np.int64),
        slots=np.empty((n, 0), np.int64),
    )


def _solve(result: CPUResult, sums: np.ndarray, windows: np.ndarray, config: RMIConfig) -> CPUResult:
    """Return the result of an ablation from the moments; few pairs at a time need no threads, which would wait."""
    jittered, every = 0, (result.terms, result.information, result.coefficients, result.offsets)
    for pairs in result.counted.nonzero().split(64):
        pair = pairs[:, 0], pairs[:, 1]
        moments, counts = torch.from_numpy(sums)[pair], torch.from_numpy(windows)[pairs[:, 0]]  # m×2d×(1 + 2d), m
        first, second = moments[..., :1], moments[..., 1:].tril()
        whole = second + second.mT - torch.diag_embed(second.diagonal(dim1=-2, dim2=-1))
        centered = whole - first @ (first / counts[:, None, None]).mT
        terms, information, derivative, number = value_and_derivative(centered, counts, config)
        found = terms, information, derivative, (derivative @ first)[..., 0] / counts[:, None]
        for one, some in zip(every, found, strict=True):
            one[pair] = some
        jittered += number
    return result._replace(jittered=jittered)


def _read(labels: Tensor, ignore_index: int, classes: int, config: RMIConfig) -> list[ImageRuns]:
    maps, results = as_array(labels.long()), dict[int, ImageRuns]()
    drop = config.ignored == "drop" and not config.needs_cells  # the windows of a feature grid are found in `_cells`

    def run(number: int) -> None:
        results[number] = ImageRuns(*read_image(maps[number], ignore_index, classes, config.radius, drop))

    parallel_for(run, range(len(maps)))
    return [results[number] for number in range(len(maps))]


def _candidates(images: Sequence[ImageRuns], channels: int, windows: np.ndarray, config: RMIConfig) -> np.ndarray:
    """Return N×C bool: the pairs whose label may vary; all pairs with windows if their maps are needed anyway."""
    if not images:
        return np.zeros((0, channels), bool)
    pixels = np.stack([image.pixels for image in images])
    some = (pixels > 0) & ((pixels < pixels.sum(1, keepdims=True)) | (config.pooling != "none"))
    some |= moves_absent_classes(config)
    # contiguous: Numba compiles another version for other strides
    return np.ascontiguousarray((some[:, 3:4] if channels == 1 else some[:, 2:]) & (windows > 0)[:, None])
