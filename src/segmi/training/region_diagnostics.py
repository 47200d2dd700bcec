"""Diagnostics of predictions, including the region information of each class.

`segmi.metrics` accumulates them, but does not import losses, so ``I_G`` is computed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from segmi.losses import RegionMutualInformation, region_kernel
from segmi.metrics.diagnostics import PredictionDiagnostics
from segmi.types import IGNORE_INDEX, Labels, Logits

EDGE: Final = 1e-7
"""Distance of probabilities from 0 and 1, so that their log-odds are finite in float32."""

RADIUS: Final = 3
"""Side of the windows in pixels."""

COMPILED_SIZE: Final = 2**18
"""Smallest number of classes × pixels of an image for the compiled kernel; below, loading it takes longer than it
saves. The rule depends on shapes only, so that all processes and all images of a run use the same kernel."""


def diagnostics_of(
    classes: int | Sequence[str], *, ignore_index: int = IGNORE_INDEX, every: int = 1
) -> PredictionDiagnostics:
    """Return `segmi.metrics.PredictionDiagnostics` with the ``region_information`` of each class.

    Args:
        classes: class names, or their number C; 2 for a binary problem.
        ignore_index: label of ignored pixels.
        every: use every n-th row and column only.

    Example:
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> diagnostics = diagnostics_of(["sea", "ship"])
        >>> diagnostics.update({"a": 3.0 * torch.stack([1 - labels, labels], 1)}, labels)
        >>> round(diagnostics.values()["region_information/a/ship"], 1)
        20.4
    """
    number, names = (classes, ()) if isinstance(classes, int) else (len(classes), tuple(classes))
    return PredictionDiagnostics(number, ignore_index=ignore_index, every=every, names=names, regions=region_sums)


def region_sums(logits: Logits, labels: Labels) -> tuple[Tensor, Tensor]:
    """Return ``I_G`` of label and softmax, summed over the images where a class varies, and their number.

    This is `segmi.losses.region_information` with 3×3 windows and ``variant: corrected``, so that ignored pixels have
    no effect and images of different sizes are comparable. It uses the softmax, which does not change if a constant is
    added to all logits of a pixel.

    Shapes:
        logits: N×C×H×W, C ≥ 2, any value at ignored pixels; labels: N×H×W, 255 is ignored; results: C. Both results are
            0 if the images are smaller than a window.

    Unit and sign: nats per window, at least 0.

    Example:
        >>> region_sums(torch.zeros(1, 2, 4, 4), torch.eye(4, dtype=torch.long)[None])
        (tensor([0., 0.]), tensor([1., 1.]))
    """
    if min(labels.shape[1:]) < RADIUS:  # no window fits
        return logits.new_zeros(logits.shape[1]), logits.new_zeros(logits.shape[1])
    # The PyTorch kernel uses autograd internally, which inference mode would forbid.
    with torch.inference_mode(False), torch.no_grad():
        # As log-odds, since the compiled kernel applies a sigmoid. Ignored pixels may be NaN.
        odds = logits.softmax(1).logit_(EDGE).masked_fill_((labels == IGNORE_INDEX).unsqueeze(1), 0)
        # By name, since "auto" would use the PyTorch routine, which rounds differently, while the kernel is compiled.
        kernel = region_kernel(odds) if odds[:1].numel() >= COMPILED_SIZE else "torch"
        term = RegionMutualInformation(radius=RADIUS, variant="corrected", kernel=kernel).term(odds, labels.clone())
        information = term.diagnostics["I_G"]
    return information.numerator, information.denominator
