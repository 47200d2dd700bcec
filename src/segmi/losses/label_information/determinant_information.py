"""Determinant mutual information, robust to label noise that depends on the class only."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from segmi.information import PredictionSums
from segmi.losses.label_information._information_loss import InformationLoss, information_term
from segmi.losses.option_checks import check_positive
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["DeterminantInformation", "determinant_information"]

MINIMUM_COUNT = 1e-6
"""A class with fewer pixels is absent; counts in a moving average decay and never reach 0 exactly."""


def determinant_information(
    logits: Logits,
    labels: Labels,
    *,
    ridge: float = 1e-6,
    offset: float | None = None,
    ignore_index: int | None = IGNORE_INDEX,
) -> Tensor:
    """Return minus the log-volume that the mean predictions of the classes span.

    ``L = -1/2 log det(T Tᵀ + ε I)``, ``T(a, b) = 1/|V_a| Σ_{u∈V_a} p_u(b)``, V_a the pixels of class a in the batch,
    for the rows of the classes in the batch

    If all C classes are present and ε is negligible, this is the published ``-log |det Q|`` of the joint table Q, up to
    the constant ``-Σ_a log π_a``. The published form has its worst value and zero gradient as soon as a class is
    missing. The released code adds δ = 0.001 inside the logarithm, ``-log(|det Q| + δ)``, which ``offset`` selects:
    its gradient is smaller by ``|det Q| / (|det Q| + δ)``, by up to thousands for five classes, where ``|det Q|`` is at
    most 5⁻⁵. The code takes the determinant of the counts n Q of n samples, so its 0.001 is ``δ = 0.001 n⁻ᶜ`` here.

    Label noise with probabilities ``N(a, ã)`` multiplies T by a matrix that does not depend on the prediction: the loss
    changes by a constant, and its minimizer stays the same.

    Args:
        logits, labels: N×C×H×W (C = 1 if binary) and N×H×W integers; pixels labeled ``ignore_index`` are left out.
        ridge: ε, above 0: singular values of T below √ε count as noise; gradients are at most about 1/√ε.
        offset: δ, above 0, selects the released form; ``ridge`` has no effect then. None: the form above.
    Unit and sign: nats, at least 0 up to the ridge, minimized; 0 for distinct certain predictions of all classes; at
        most ``-log δ`` with an offset; 0, attached to the graph, if no pixel is valid.
    Source: Xu, Cao, Kong and Wang, *L_DMI: A Novel Information-theoretic Loss Function for Training Deep Nets Robust to
        Label Noise*, NeurIPS 2019 (abstract and released code); the form for missing classes is new here.
    Example:
        >>> labels = torch.tensor([[[0, 1], [0, 1]]])
        >>> logits = torch.tensor([[0.75, 0.25], [0.25, 0.75]]).log()[labels].movedim(-1, 1)
        >>> determinant_information(logits, labels)  # -log(0.75 · 0.75 - 0.25 · 0.25)
        tensor(0.6931)
    """
    _check(ridge, offset)
    return information_term(logits, labels, lambda sums: _value(sums, ridge, offset), ignore_index).value


def _check(ridge: float, offset: float | None) -> None:
    check_positive(ridge=ridge, offset=1.0 if offset is None else offset)


def _value(sums: PredictionSums, ridge: float, offset: float | None) -> Tensor:
    counts = sums.mass.detach().sum(1)
    if offset is not None:
        total = counts.sum()
        # of an empty batch the identity, whose offset is subtracted, so that the value is 0
        identity = torch.eye(len(counts), dtype=counts.dtype, device=counts.device)
        table = torch.where(total > 0, sums.mass / total.clamp(min=MINIMUM_COUNT), identity)
        return torch.where(total > 0, 0.0, math.log1p(offset)) - (torch.linalg.det(table).abs() + offset).log()
    present = counts > MINIMUM_COUNT
    # T, C×C: mean predictions of the classes
    rows = sums.mass / torch.where(present, counts, 1.0).unsqueeze(1)
    # a diagonal of 1 for absent classes, which contribute a factor of 1
    gram = rows @ rows.mT + torch.diag(torch.where(present, ridge, 1.0).to(rows.dtype))
    return 0 - 0.5 * torch.logdet(gram)


class DeterminantInformation(InformationLoss):
    """`determinant_information` as a module, added to a pixel loss or used after training with one.

    Use: wrong labels whose errors depend on the class only, added to cross-entropy or after training.
    Assumes: label noise depends on the class only, not on the image, and every class has enough pixels in the batch for
        its mean.
    Invariances: permutations of the pixels and of the predicted classes; a shift of a pixel's logits; up to a constant,
        class-conditional label noise.
    Degenerate solutions: permuted classes have the same value as correct ones. If two classes have the same prediction,
        the volume is 0 and the gradient near it is steep: start with a small weight or a trained network.
    Cost: two maps of the size of the logits and a determinant of size C; nothing at inference.
    Args: see `determinant_information`; ``momentum`` of a moving average of the sums, 0 to use each batch alone.
    """

    def __init__(
        self, *, ridge: float = 1e-6, offset: float | None = None, momentum: float = 0.0,
        ignore_index: int | None = IGNORE_INDEX
    ) -> None:  # fmt: skip
        super().__init__(momentum=momentum, ignore_index=ignore_index)
        _check(ridge, offset)
        self.ridge, self.offset = ridge, offset

    def value(self, sums: PredictionSums) -> Tensor:
        """Return minus the log-volume of the sums."""
        return _value(sums, self.ridge, self.offset)
