"""Determinant mutual information, which label noise of any kind that does not look at the image cannot tempt."""

from __future__ import annotations

import torch
from torch import Tensor

from segmi.information import PredictionSums
from segmi.losses.base import Loss, Term
from segmi.losses.label_information._sums import Memory, dependence_term
from segmi.losses.probabilities import count_valid
from segmi.types import IGNORE_INDEX, Labels, Logits

FEWEST = 1e-6
"""Pixels of a class below which it counts as missing; in one batch they are whole, in a moving average they fade."""


def determinant_information(
    logits: Logits, labels: Labels, *, ridge: float = 1e-6, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """How far the mean predictions of the classes are from spanning a volume of 1.

    ``L = -1/2 log det(T Tᵀ + ε I)`` with ``T(a, b) = 1/|V_a| Σ_{u∈V_a} p_u(b)``, V_a the pixels of class a in the
    batch, over the rows of those classes that it holds

    Where all C classes are there and ε is negligible, this is the published ``-log |det Q|`` of the joint table Q, less
    ``-Σ_a log π_a``, which labels alone decide. The published form is at its worst value, with a gradient of exactly
    0, as soon as one class is missing; rows of present classes alone keep theirs. If labels are changed at random with
    probabilities ``N(a, ã)`` that depend on the class alone, T is multiplied by a matrix that the prediction has no
    part in: the loss is shifted by a constant, and the best prediction stays the best.

    Args:
        logits: N×C×H×W, any float type, C = 1 for a binary problem.
        labels: N×H×W, any integer type.
        ridge: ε, above 0: singular values of T below its root count as noise, and no gradient is much larger than its
            inverse root.
        ignore_index: the label of ignored pixels.

    Shapes:
        the result is a scalar.

    Unit and sign: nats, at least 0 up to the ridge, minimized; 0 where every class has a certain prediction of its own;
    0, attached to the graph, where no pixel is valid.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: a ridge that is not above 0, shapes that do not match; on the CPU, ids that are neither class nor
            ignored. On other devices those give NaN, and so do NaN logits everywhere.

    Source: Xu, Cao, Kong and Wang, *L_DMI: A Novel Information-theoretic Loss Function for Training Deep Nets Robust to
    Label Noise*, NeurIPS 2019 (read in its abstract and in the released code); the form for batches in which classes
    are missing is ours.

    Example:
        >>> labels = torch.tensor([[[0, 1], [0, 1]]])
        >>> logits = torch.tensor([[0.75, 0.25], [0.25, 0.75]]).log()[labels].movedim(-1, 1)
        >>> determinant_information(logits, labels)  # -log(0.75 · 0.75 - 0.25 · 0.25)
        tensor(0.6931)
    """
    return determinant_information_term(logits, labels, ridge=ridge, ignore_index=ignore_index).value


def determinant_information_term(
    logits: Logits,
    labels: Labels,
    *,
    ridge: float = 1e-6,
    ignore_index: int = IGNORE_INDEX,
    memory: Memory | None = None,
) -> Term:
    """`determinant_information` times the valid pixels, and their number."""
    _check_ridge(ridge)
    return dependence_term(
        logits, labels, lambda sums: _minus_log_volume(sums, ridge), ignore_index=ignore_index, memory=memory
    )


def _minus_log_volume(sums: PredictionSums, ridge: float) -> Tensor:
    counts = sums.mass.detach().sum(1)
    present = counts > FEWEST
    rows = sums.mass / torch.where(present, counts, 1.0).unsqueeze(1)
    gram = rows @ rows.mT + torch.diag(torch.where(present, ridge, 1.0).to(rows.dtype))
    return 0 - 0.5 * torch.logdet(gram)


def _check_ridge(ridge: float) -> None:
    if not ridge > 0:
        raise ValueError(f"ridge: expected a number above 0, got {ridge!r}; 1e-6 leaves values above 1e-3 alone")


class DeterminantInformation(Loss):
    """`determinant_information` as a module, beside a pixel-wise loss or on weights that one has trained.

    Assumes: that wrong labels, if any, are wrong by the class alone: whatever the image shows at a pixel, a label of
        class a became ã with the same probability. Every class needs enough pixels in the batch for its mean to stand.
    Invariances: any permutation of the predicted classes, and of the pixels; a constant added to the logits of a pixel;
        up to a shift of the value, class-conditional noise in the labels.
    Degenerate solutions: classes under wrong names are worth as much as right ones. Where two classes get one
        prediction the volume is 0: the value stands at that of the ridge, and near it the gradient is as steep as its
        inverse root, so begin with a small weight or with a network that tells the classes apart.
    Cost: two maps of the size of the logits, and a determinant of size C; nothing at inference.

    Args:
        ridge: ε, above 0.
        momentum: m of a moving average of the batches' table (0.9, say), for batches too small to stand for the whole;
            0: of every batch its own. Every network has an average of its own.
        ignore_index: the label of ignored pixels.

    Example:
        >>> labels = torch.tensor([[[0, 1], [0, 1]]])
        >>> certain = 30.0 * torch.nn.functional.one_hot(labels, 2).movedim(-1, 1)
        >>> DeterminantInformation(ridge=1e-9)(certain, labels).abs() < 1e-6
        tensor(True)
    """

    family = "label_information"
    invariances = ("logit shift", "prediction permutation", "class permutation", "pixel permutation")
    scope = "global"

    def __init__(self, *, ridge: float = 1e-6, momentum: float = 0.0, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        _check_ridge(ridge)
        self.ridge, self.ignore_index = ridge, ignore_index
        self.memory, self.stateful = Memory(momentum) if momentum else None, momentum > 0

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The loss times the valid pixels, and their number."""
        return determinant_information_term(
            logits, labels, ridge=self.ridge, ignore_index=self.ignore_index, memory=self.memory
        )

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The number of valid pixels."""
        return {"": count_valid(logits, labels, self.ignore_index)}
