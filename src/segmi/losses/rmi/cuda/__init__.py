"""Region mutual information and binary cross-entropy on a CUDA device, compiled by Triton.

Nothing here synchronizes with the device: which maps are skipped, how many windows are included and whether a
covariance had to be jittered stay there. Windows are never unfolded. The sum of products over all windows of two
positions is the sum over the whole map of the product displaced by the distance of the two, minus the few rows and
columns at the border that this pair of positions does not reach; there are 2R² - 2R + 1 such displacements up to sign,
but R⁴ pairs of positions. For sigmoids without pooling, the kernels read logits, and the only memory that grows with
the maps is the gradient; partial sums take about a twentieth of float32 logits. For other options and ablations,
`window_sums` takes the probability and label maps that PyTorch computes and differentiates.

Arithmetic. Float32 sums make the gradient wrong by percents where covariances are nearly singular. Devices with fast
float64 (compute capability 6.0, 7.0, 8.0, 9.0 and 10.0) sum centered products in float64. All others, GeForce among
them, run float64 at 1/32 or 1/64 of the rate of float32 and sum integers instead: probabilities are rounded to 26 bits,
products of two are exact in 64 bits (``mad.wide``, one instruction), and so are their sums. The gradient is then a
float32 stencil; where the weights of P and Y nearly cancel, P - Y takes the place of P. Integers do not depend on the
compiler, which may contract or reorder float32 operations. `segmi.losses.rmi.operators.sums_integers` chooses.

Relative error of the gradient (its norm) to a float64 reference, variant ``published``, R = 3, over all classes of one
224×224 label map: of CamVid, and three axis-aligned rectangles. Logits: noise of 0.01; blurred labels, ±10, and blurred
noise of 6; of a U-Net of width 16 after 150 steps on CamVid; the labels themselves, ±15, where the reference is exact
to 1e-5; and the labels moved by one pixel, ±12 with noise of 1, so that covariances are singular up to α. In the last
row, P or P - Y, whichever is smaller, is summed in float32 over 32 products, and in float64 across them.

==========================  =======  =======  =======  =======  =======
sums, labels                noise    blurred  U-Net    labels   moved
==========================  =======  =======  =======  =======  =======
float64, CamVid             5e-6     1e-7     2e-6     2e-6     2e-6
integers, CamVid            7e-6     2e-7     3e-6     2e-6     2e-4
integers, rectangles        9e-6     6e-7     –        1e-5     3e-4
float32, CamVid (not used)  7e-6     4e-6     5e-5     4e-7     5e-3
==========================  =======  =======  =======  =======  =======

Float64 remains where little is computed: for R = 3, the covariances of one map take about 3·10⁴ operations (nine
factorizations of 18×18 matrices, solutions, and sums over tiles), the products of a 224×224 map 2·10⁶.

With ``TRITON_INTERPRET=1`` set before Triton is first imported, everything runs on the CPU, slowly.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from segmi.losses.rmi.cuda.launches import compute_gradient, compute_terms, sum_windows
from segmi.losses.rmi.maps import counted_pairs, whole_windows
from segmi.losses.rmi.operators import sums_integers
from segmi.losses.rmi.rmi_config import RMIConfig
from segmi.losses.targets import Targets

__all__ = ["backward", "compute_gradient", "compute_terms", "forward", "window_sums", "window_sums_gradient"]


# --- the operators of `segmi.losses.rmi.operators`


def forward(
    logits: Tensor, labels: Tensor, radius: int, published: bool, drop: bool, ridge: float, absent: float, pixels: bool,
    ignore_index: int,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Return a `KernelResult`; unknown ids give NaN, since reading them would synchronize with the device."""
    classes, whole, targets = _read_labels(logits, labels, radius, drop, ignore_index)
    config = RMIConfig(radius=radius, ignored="drop" if drop else "zero", class_reduction="present")
    counted = counted_pairs(targets, logits.shape[1], config)
    result = compute_terms(
        logits, classes, counted, radius=radius, published=published, ridge=ridge, pixels=pixels, whole=whole,
        integers=sums_integers(logits.device),
    )  # fmt: skip
    terms = torch.where(counted, result.terms, absent)
    return (
        result.pixels, terms, result.information, counted, targets.valid.sum(), result.coefficients, result.offsets,
        result.jittered, targets.invalid,
    )  # fmt: skip


def backward(
    logits: Tensor, labels: Tensor, counted: Tensor, coefficients: Tensor, offsets: Tensor, term_scale: Tensor,
    pixel_scale: Tensor, radius: int, drop: bool, ignore_index: int,
) -> Tensor:  # fmt: skip
    """Return the gradient with respect to the logits, contiguous and of their type."""
    classes, whole, _ = _read_labels(logits, labels, radius, drop, ignore_index)
    return compute_gradient(
        logits, classes, counted, coefficients, offsets, term_scale, pixel_scale, radius=radius, whole=whole,
        integers=sums_integers(logits.device),
    ).contiguous()  # fmt: skip


def _read_labels(
    logits: Tensor, labels: Tensor, radius: int, drop: bool, ignore_index: int
) -> tuple[Tensor, Tensor | None, Targets]:
    """Return N×H×W int32 classes, -1 where ignored, the included windows (None for all), and the targets."""
    index = labels.long()
    ignored = index == ignore_index
    unknown = ~ignored & ((index < 0) | (index >= max(logits.shape[1], 2)))
    valid = ~(ignored | unknown)
    wrong = unknown.any() | logits.detach().isnan().any()
    invalid = torch.where(wrong, math.nan, 0.0).float()
    classes = index.masked_fill(~valid, -1).int()
    whole = whole_windows(valid, radius) if drop else None
    return classes, whole, Targets(classes.long().clamp(min=0), valid, invalid)


# --- the operators of `segmi.losses.rmi.windows`


def window_sums(p: Tensor, y: Tensor, whole: Tensor, active: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Return `segmi.losses.rmi.windows.window_sums` and the means of the windows; arbitrary where not ``active``."""
    maps, every = _as_images(p, y, active), None if not len(whole) else whole
    _, windows = sum_windows(*maps, every, radius, integers=sums_integers(p.device), sigmoid=False)
    return windows.sums, windows.means


def window_sums_gradient(
    upstream: Tensor, means: Tensor, p: Tensor, y: Tensor, whole: Tensor, active: Tensor, radius: int
) -> Tensor:
    """Return the gradient of `window_sums` with respect to ``p``."""
    slopes = (upstream + upstream.mT)[:, : radius**2]
    ones = means.new_ones(len(p), 1)
    return compute_gradient(
        *_as_images(p, y, active), slopes.unsqueeze(1), (slopes @ means[:, :, None]).view(len(p), 1, -1), ones, ones,
        radius=radius, whole=whole if len(whole) else None, integers=sums_integers(p.device), sigmoid=False,
    ).squeeze(1).contiguous()  # fmt: skip


def _as_images(p: Tensor, y: Tensor, active: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return maps as images of one class."""
    labels = y.view(torch.int8) if y.dtype == torch.bool else y
    return p.unsqueeze(1), labels, active.unsqueeze(1)
