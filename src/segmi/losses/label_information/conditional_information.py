"""Conditional mutual information: how much the predictions of a class differ from each other."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from torch import Tensor

from segmi.information import PredictionSums, class_separation, conditional_prediction_mutual_information
from segmi.losses.label_information._information_loss import InformationLoss, information_term
from segmi.losses.option_checks import check_choice, check_non_negative
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["ConditionalInformation", "conditional_information"]

Direction: TypeAlias = Literal["compress", "spread"]


def conditional_information(
    logits: Logits, labels: Labels, *, direction: Direction = "compress", separation: float = 0.0,
    ignore_index: int | None = IGNORE_INDEX
) -> Tensor:  # fmt: skip
    """Return the information of a class drawn from the prediction about the pixel, beyond its label, or minus it.

    ``L = ±I(X; Ŷ|Y) - β Γ``, ``I(X; Ŷ|Y) = 1/|V| Σ_{u∈V} KL(p_u ‖ Q_{y_u})``, Q_a the mean prediction at the pixels of
    class a, ``Γ = 1/|V|² Σ_{u,v∈V: y_u≠y_v} H(p_u, p_v)``, V the valid pixels of all images

    ``compress`` (plus) with β is CMIC: classes become compact and separated. ``spread`` (minus) is MCMI, for teachers:
    their predictions keep what distinguishes pixels of a class. The means Q_a minimize the divergence, so they
    contribute no gradient and need no alternating step.

    Args:
        logits, labels: N×C×H×W (C = 1 if binary) and N×H×W integers; pixels labeled ``ignore_index`` are left out.
        direction: ``compress`` minimizes the information, ``spread`` maximizes it.
        separation: β, at least 0.
    Unit and sign: nats, minimized; for β = 0 at least 0 (``compress``) or at most 0 (``spread``), otherwise unbounded
        below; 0, attached to the graph, if no pixel is valid.
    Source: Yang, Hamidi, Ye, Tan and Yang, *Conditional Mutual Information Constrained Deep Learning for
        Classification*, IEEE TNNLS 36(8), 2025 (CMIC); Ye, Hamidi, Tan and Yang, *Bayes Conditional Distribution
        Estimation for Knowledge Distillation Based on Conditional Mutual Information*, ICLR 2024 (MCMI). Both abstracts
        only, formulas from summaries; no weights for segmentation are published.
    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 1, 2, dtype=torch.long)  # one class with two predictions
        >>> logits = torch.tensor([[[[30.0, 0.0]], [[0.0, 30.0]]]])
        >>> conditional_information(logits, labels)  # log 2
        tensor(0.6931)
    """
    _check(direction, separation)
    return information_term(logits, labels, lambda sums: _value(sums, direction, separation), ignore_index).value


def _value(sums: PredictionSums, direction: Direction, separation: float) -> Tensor:
    # minimized: + compresses, - spreads
    information = (1 if direction == "compress" else -1) * conditional_prediction_mutual_information(sums)
    return information - separation * class_separation(sums) if separation else information


def _check(direction: str, separation: float) -> None:
    check_choice("direction", direction, get_args(Direction))
    check_non_negative(separation=separation)


class ConditionalInformation(InformationLoss):
    """`conditional_information` as a module, added to a pixel loss with a weight of about 0.1.

    Use: predictions that vary within a class (``compress``), or training of a teacher (``spread``).
    Assumes: the mean prediction over the pixels of a class in the batch is representative of the class.
    Invariances: permutations of the pixels and of the predicted classes; a shift of a pixel's logits.
    Degenerate solutions: for ``compress``, one prediction for all pixels; with β, certain predictions that differ
        between the classes, right or wrong. For ``spread``, certain predictions that are independent of the label.
    Cost: two maps of the size of the logits and a product of tables; nothing at inference.
    Args: see `conditional_information`; ``momentum`` of a moving average of the sums, 0 to use each batch alone.
    """

    def __init__(
        self, *, direction: Direction = "compress", separation: float = 0.0, momentum: float = 0.0,
        ignore_index: int | None = IGNORE_INDEX
    ) -> None:  # fmt: skip
        super().__init__(momentum=momentum, ignore_index=ignore_index)
        _check(direction, separation)
        self.direction, self.separation = direction, separation

    def value(self, sums: PredictionSums) -> Tensor:
        """Return the loss of the sums."""
        return _value(sums, self.direction, self.separation)
