"""What is read off the predictions of whatever was trained, the information of regions by class included.

`segmi.metrics` collects it, and knows no objective; how ``I_G`` is found it has from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import torch
from torch import Tensor

from segmi.losses import RegionMutualInformation
from segmi.metrics.diagnostics import PredictionDiagnostics
from segmi.types import IGNORE_INDEX, Labels, Logits

EDGE: Final = 1e-7
"""How near to 0 and 1 a probability comes, so that it has a log-odds in float32."""

RADIUS: Final = 3
"""The side of the windows."""

COMPILED_FROM: Final = 2**18
"""Classes × pixels of an image from which on the compiled routine is taken, where there is one: below, loading it (the
first time: compiling it) takes longer than what it spares. A rule about shapes alone, so that every process computes
alike."""


def diagnostics_of(
    classes: int | Sequence[str], *, ignore_index: int = IGNORE_INDEX, every: int = 1
) -> PredictionDiagnostics:
    """`segmi.metrics.PredictionDiagnostics` with ``region_information`` by class.

    Args:
        classes: their names, or C; 2 for a binary problem.
        ignore_index: the label of pixels that count nowhere.
        every: look at every so-manieth row and column alone.

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
    """``I_G`` of label and softmax, summed over the images in which a class varies, and how many those are.

    It is `segmi.losses.region_information` with 3×3 windows, in the mode ``sound``, so that ignored pixels count
    nowhere and images of different sizes compare. It is of the softmax, since what was trained may not know of a
    sigmoid: a constant added to all logits of a pixel changes nothing.

    Shapes:
        logits: N×C×H×W, C ≥ 2, with whatever at ignored pixels; labels: N×H×W, ignored is 255; the results are C. Both are 0
            where windows do not fit.

    Unit and sign: nats per window, at least 0.

    Example:
        >>> region_sums(torch.zeros(1, 2, 4, 4), torch.eye(4, dtype=torch.long)[None])
        (tensor([0., 0.]), tensor([1., 1.]))
    """
    if min(labels.shape[1:]) < RADIUS:
        return logits.new_zeros(logits.shape[1]), logits.new_zeros(logits.shape[1])
    # the plain routine takes a derivative that nobody wants here, so it cannot be in inference mode
    with torch.inference_mode(False), torch.no_grad():
        # as log-odds, whose sigmoid the compiled routine takes; whatever stands at ignored pixels, NaN included
        odds = logits.softmax(1).logit_(EDGE).masked_fill_((labels == IGNORE_INDEX).unsqueeze(1), 0)
        kernel: Literal["auto", "torch"] = "auto" if odds[:1].numel() >= COMPILED_FROM else "torch"
        term = RegionMutualInformation(radius=RADIUS, variant="corrected", kernel=kernel).term(odds, labels.clone())
        shown = term.diagnostics["I_G"]
    return shown.numerator, shown.denominator
