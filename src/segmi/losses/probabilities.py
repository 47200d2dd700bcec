"""Class probabilities of a network, and their sums over the pixels of a class."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.losses.targets import Targets, check_targets, class_count, is_transformed, is_valid, read_targets, upcast
from segmi.types import Labels, Logits


def log_probabilities(logits: Logits) -> Tensor:
    """Return the log-probabilities of all classes in at least float32.

    Shapes: N×C×H×W to N×max(C, 2)×H×W: a single channel becomes the two classes of a binary problem.
    """
    z = upcast(logits)
    if z.shape[1] == 1:
        # logsigmoid is exact where a sigmoid rounds to 0 or 1
        return torch.cat([F.logsigmoid(-z), F.logsigmoid(z)], 1)
    return z.log_softmax(1)


def pixel_entropies(log_p: Tensor) -> Tensor:
    """Return the entropy of the prediction at every pixel in nats: N×C×H×W log-probabilities to N×H×W."""
    # 0 - x instead of -x gives +0 for certain predictions
    return 0 - (log_p.exp() * log_p).sum(1)


def pixel_cross_entropies(logits: Logits, targets: Targets) -> Tensor:
    """Return minus the log-probability of the true class in nats, N×H×W, with 0 at ignored pixels."""
    z = upcast(logits)
    if z.shape[1] == 1:
        weight, truth = targets.valid.to(z.dtype), targets.classes.to(z.dtype)
        return F.binary_cross_entropy_with_logits(z[:, 0], truth, weight, reduction="none")
    # -100 cannot be a class, unlike the user's ignore value
    return F.cross_entropy(z, targets.classes.masked_fill(~targets.valid, -100), ignore_index=-100, reduction="none")


def one_hot(targets: Targets, classes: int) -> Tensor:
    """Return N×C×H×W bool, True at the class of every valid pixel."""
    return _one_hot(targets.classes, targets.valid, classes)


def _one_hot(index: Tensor, valid: Tensor, classes: int) -> Tensor:
    # 1×C×1×1 against N×1×H×W
    ids = torch.arange(classes, device=index.device).view(1, -1, 1, 1)
    return (index.unsqueeze(1) == ids) & valid.unsqueeze(1)


def image_counts(targets: Targets, classes: int) -> Tensor:
    """Return the number of valid pixels of every class in every image: N×C int64."""
    return one_hot(targets, classes).sum((2, 3))


def count_pairs(logits: Logits, labels: Labels, ignore_index: int | None) -> Tensor:
    """Return the number of pairs of an image and a class with a valid pixel in it, as a denominator."""
    counts = image_counts(read_targets(logits, labels, ignore_index), class_count(logits))
    return (counts > 0).sum().to(upcast(logits).dtype)


def class_sums(maps: Tensor, targets: Targets, classes: int) -> Tensor:
    """Return the sum of maps over the valid pixels of each class.

    ``S_yk = Σ_{u∈V: y_u = y} m_uk``; for maps of probabilities this is the soft confusion matrix, in counts.

    Shapes: N×K×H×W in at least float32 to classes×K in the dtype of `precise`.
    """
    if is_transformed():
        return _summed_by_class(maps, targets.classes, targets.valid, classes)
    sums: Tensor = _ClassSums.apply(maps, targets.classes, targets.valid, classes)
    return sums


def _summed_by_class(maps: Tensor, index: Tensor, valid: Tensor, classes: int) -> Tensor:
    with torch.autocast(maps.device.type, enabled=False):  # autocast would sum in half precision
        return precise(torch.bmm(_one_hot(index, valid, classes).flatten(2).to(maps.dtype), maps.flatten(2).mT)).sum(0)


class _ClassSums(torch.autograd.Function):
    # Matrix product with the one-hot labels, whose backward is a lookup by class instead of a second product
    @staticmethod
    def forward(ctx: Any, maps: Tensor, index: Tensor, valid: Tensor, classes: int) -> Tensor:
        ctx.save_for_backward(index, valid)
        ctx.dtype = maps.dtype
        return _summed_by_class(maps, index, valid, classes)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        index, valid = ctx.saved_tensors
        # classes×K rows looked up at N×H×W pixels: N×H×W×K
        rows = gradient.to(ctx.dtype)[index] * valid.unsqueeze(-1)
        return rows.movedim(-1, 1), None, None, None


def inner_products(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a bᵀ`` of …×K×D and …×L×D vectors, not in half precision under autocast, forward and backward."""
    if is_transformed():
        with torch.autocast(a.device.type, enabled=False):
            return a @ b.mT
    products: Tensor = _InnerProducts.apply(a, b)
    return products


class _InnerProducts(torch.autograd.Function):
    # Matrix product whose backward also runs without autocast
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        with torch.autocast(a.device.type, enabled=False):
            return a @ b.mT

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        a, b = ctx.saved_tensors
        with torch.autocast(a.device.type, enabled=False):
            return gradient @ b, gradient.mT @ a


def precise(values: Tensor) -> Tensor:
    """Return values in float64, for sums over a batch; in float32 on MPS, which has no float64."""
    return values.float() if values.device.type == "mps" else values.double()


def count_valid(logits: Logits, labels: Labels, ignore_index: int | None) -> Tensor:
    """Return the number of valid pixels as a denominator; the values of the logits do not matter."""
    check_targets(logits, labels, ignore_index)
    return is_valid(labels, ignore_index).sum().to(upcast(logits).dtype)
