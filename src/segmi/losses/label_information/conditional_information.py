"""Conditional mutual information: how much the predictions of one class differ from each other."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from torch import Tensor

from segmi.information import PredictionSums, class_separation, conditional_prediction_mutual_information
from segmi.losses.base import Loss, Term
from segmi.losses.label_information._sums import Memory, dependence_term
from segmi.losses.options import check_choice
from segmi.losses.probabilities import count_valid
from segmi.types import IGNORE_INDEX, Labels, Logits

Direction: TypeAlias = Literal["compress", "spread"]


def conditional_information(
    logits: Logits,
    labels: Labels,
    *,
    direction: Direction = "compress",
    separation: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """What a class drawn from the prediction tells of the pixel beyond its label, to be made small, or large.

    ``L = ±I(X; Ŷ|Y) - β Γ`` with ``I(X; Ŷ|Y) = 1/|V| Σ_{u∈V} KL(p_u ‖ Q_{y_u})``, Q_a the mean prediction at the
    pixels of class a, and ``Γ = 1/|V|² Σ_{u,v∈V: y_u≠y_v} H(p_u, p_v)``, the cross-entropy between pixels of different
    classes; V the valid pixels of all images

    With ``compress`` (plus) and β this is CMIC, the penalty that is added to a cross-entropy so that classes become
    compact and far apart. With ``spread`` (minus) it is MCMI, for teachers, whose predictions then keep what tells
    pixels of one class apart. The means Q_a need no alternating step of their own: as minimizers of what they stand in,
    they have no part in the gradient.

    Args:
        logits: N×C×H×W, any float type, C = 1 for a binary problem.
        labels: N×H×W, any integer type.
        direction: ``compress`` minimizes the information, ``spread`` maximizes it.
        separation: β, at least 0.
        ignore_index: the label of ignored pixels.

    Shapes:
        the result is a scalar.

    Unit and sign: nats, minimized; with β = 0 at least 0 (``compress``) or at most 0 (``spread``), else without a
    lower bound; 0, attached to the graph, where no pixel is valid.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: an unknown direction, a negative separation, shapes that do not match; on the CPU, ids that are
            neither class nor ignored. On other devices those give NaN, and so do NaN logits everywhere.

    Source: Yang, Hamidi, Ye, Tan and Yang, *Conditional Mutual Information Constrained Deep Learning for
    Classification*, IEEE TNNLS 36(8), 2025 (CMIC); Ye, Hamidi, Tan and Yang, *Bayes Conditional Distribution Estimation
    for Knowledge Distillation Based on Conditional Mutual Information*, ICLR 2024 (MCMI). Read in their abstracts,
    the formulas in summaries; no weights for segmentation are published.

    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 1, 2, dtype=torch.long)  # one class, predicted in two ways
        >>> logits = torch.tensor([[[[30.0, 0.0]], [[0.0, 30.0]]]])
        >>> conditional_information(logits, labels)  # log 2
        tensor(0.6931)
    """
    return conditional_information_term(
        logits, labels, direction=direction, separation=separation, ignore_index=ignore_index
    ).value


def conditional_information_term(
    logits: Logits,
    labels: Labels,
    *,
    direction: Direction = "compress",
    separation: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
    memory: Memory | None = None,
) -> Term:
    """`conditional_information` times the valid pixels, and their number."""
    _check(direction, separation)
    sign = 1 if direction == "compress" else -1

    def value(sums: PredictionSums) -> Tensor:
        spread = sign * conditional_prediction_mutual_information(sums)
        return spread - separation * class_separation(sums) if separation else spread

    return dependence_term(logits, labels, value, ignore_index=ignore_index, memory=memory)


def _check(direction: str, separation: float) -> None:
    check_choice("direction", direction, get_args(Direction))
    if not separation >= 0:
        raise ValueError(
            f"separation: expected a number of at least 0, got {separation!r}; classes are to be kept apart"
        )


class ConditionalInformation(Loss):
    """`conditional_information` as a module, to be added to a pixel-wise loss with a weight of 0.1 or so.

    Assumes: that the mean prediction over the pixels of a class in the batch stands for that of the class.
    Invariances: any permutation of the predicted classes, and of the pixels; a constant added to the logits of a pixel.
    Degenerate solutions: ``compress`` is at its best where all pixels get one prediction, whatever it is; with β, where
        different classes have predictions that are as certain as they can be, right or wrong. ``spread`` is at its best
        where predictions are certain and do not depend on the label.
    Cost: two maps of the size of the logits, and a product of tables; nothing at inference.

    Args:
        direction: ``compress`` (CMIC) or ``spread`` (MCMI, for teachers).
        separation: β, at least 0.
        momentum: m of a moving average of the batches' table (0.9, say), for batches too small to stand for the whole;
            0: of every batch its own. Every network has an average of its own.
        ignore_index: the label of ignored pixels.

    Example:
        >>> import torch
        >>> ConditionalInformation()(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8)).abs() < 1e-6
        tensor(True)
    """

    family = "label_information"
    invariances = ("logit shift", "prediction permutation", "class permutation", "pixel permutation")
    scope = "global"

    def __init__(
        self,
        *,
        direction: Direction = "compress",
        separation: float = 0.0,
        momentum: float = 0.0,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__()
        _check(direction, separation)
        self.direction, self.separation, self.ignore_index = direction, separation, ignore_index
        self.memory, self.stateful = Memory(momentum) if momentum else None, momentum > 0

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The loss times the valid pixels, and their number."""
        return conditional_information_term(
            logits,
            labels,
            direction=self.direction,
            separation=self.separation,
            ignore_index=self.ignore_index,
            memory=self.memory,
        )

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The number of valid pixels."""
        return {"": count_valid(logits, labels, self.ignore_index)}
