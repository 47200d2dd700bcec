"""What a network predicts, as the losses that compare whole distributions take it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.losses.targets import Targets, check_targets, upcast
from segmi.types import Labels, Logits


def log_probabilities(logits: Logits) -> Tensor:
    """Log-probabilities of all classes in at least float32; a single channel becomes the two of a binary problem.

    Shapes:
        logits: N×C×H×W; the result is N×max(C, 2)×H×W.
    """
    z = upcast(logits)
    if z.shape[1] == 1:
        return torch.cat([F.logsigmoid(-z), F.logsigmoid(z)], 1)
    return z.log_softmax(1)


def pixel_entropies(log_p: Tensor) -> Tensor:
    """The entropy of the prediction at every pixel: N×H×W nats from N×C×H×W log-probabilities."""
    return 0 - (log_p.exp() * log_p).sum(1)


def pixel_surprises(logits: Logits, targets: Targets) -> Tensor:
    """Minus the log-probability of the true class at every pixel, 0 where ignored: N×H×W nats."""
    z = upcast(logits)
    if z.shape[1] == 1:
        weight, truth = targets.valid.to(z.dtype), targets.classes.to(z.dtype)
        return F.binary_cross_entropy_with_logits(z[:, 0], truth, weight, reduction="none")
    return F.cross_entropy(z, targets.classes.masked_fill(~targets.valid, -100), ignore_index=-100, reduction="none")


def memberships(targets: Targets, classes: int) -> Tensor:
    """True at the class of every valid pixel: N×C×H×W bool."""
    return _networks(targets.classes, targets.valid, classes)


def _networks(index: Tensor, valid: Tensor, classes: int) -> Tensor:
    ids = torch.arange(classes, device=index.device).view(1, -1, 1, 1)
    return (index.unsqueeze(1) == ids) & valid.unsqueeze(1)


def image_counts(targets: Targets, classes: int) -> Tensor:
    """The number of valid pixels of every class in every image: N×C int64."""
    return memberships(targets, classes).sum((2, 3))


def class_sums(maps: Tensor, targets: Targets, classes: int) -> Tensor:
    """What maps add up to over the valid pixels of each class.

    ``S_yk = Σ_{u∈V: y_u = y} m_uk``; with probabilities for maps this is the soft confusion matrix, in counts.

    Shapes:
        maps: N×K×H×W, at least float32; the result is classes×K in `precise`.
    """
    sums: Tensor = _ClassSums.apply(maps, targets.classes, targets.valid, classes)
    return sums


class _ClassSums(torch.autograd.Function):
    """A product with the one-hot labels, whose gradient is a look-up of the pixel's class."""

    @staticmethod
    def forward(context: Any, maps: Tensor, index: Tensor, valid: Tensor, classes: int) -> Tensor:
        context.save_for_backward(index, valid)
        context.dtype = maps.dtype
        networks = _networks(index, valid, classes)
        with torch.autocast(maps.device.type, enabled=False):  # which would count in half precision
            return precise(torch.bmm(networks.flatten(2).to(maps.dtype), maps.flatten(2).mT)).sum(0)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Any:
        index, valid = context.saved_tensors
        rows = gradient.to(context.dtype)[index] * valid.unsqueeze(-1)
        return rows.movedim(-1, 1), None, None, None


def precise(values: Tensor) -> Tensor:
    """In float64, where the device has it: sums over a batch and what is read off them."""
    return values.float() if values.device.type == "mps" else values.double()


def count_valid(logits: Logits, labels: Labels, ignore_index: int) -> Tensor:
    """The number of valid pixels, as a denominator; of the logits only shape, type and device count."""
    check_targets(logits, labels)
    return (labels != ignore_index).sum().to(upcast(logits).dtype)
