"""Invariant information clustering: mutual information of the predictions in two views of a pixel."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segmi.losses.option_checks import check_non_negative
from segmi.losses.unsupervised._unlabeled import TwoViewObjective, two_view_term
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["InvariantInformation", "invariant_information"]


def invariant_information(
    first: Logits,
    second: Logits,
    labels: Labels,
    *,
    entropy_weight: float = 1.0,
    ignore_index: int | None = IGNORE_INDEX,
) -> Tensor:
    """Return minus the mutual information of the classes predicted for a pixel in two views.

    ``L = -Σ_ab P(a, b) [log P(a, b) - λ log P(a) - λ log P(b)]``, P the symmetric part of
    ``1/|V| Σ_{u∈V} p_u(a) p'_u(b)``, V the valid pixels of all images

    With the label as the second view it is `soft_confusion`.

    Args:
        first, second: N×C×H×W (C = 1 if binary), aligned by pixel; gradients reach both.
        labels: N×H×W integers; only ``ignore_index`` is used.
        entropy_weight: λ, at least 0; above 1 it favors more classes.
    Unit and sign: nats, for λ = 1 between -log C (equal predictions of equal frequency) and 0 (independent), minimized;
        0, attached to the graph, if no pixel is valid.
    Source: Ji, Henriques and Vedaldi, *Invariant Information Clustering for Unsupervised Image Classification and
        Segmentation*, ICCV 2019, eq. 3 and 5.
    Example:
        >>> import torch
        >>> views = torch.tensor([[[[30.0, 0.0]], [[0.0, 30.0]]]])
        >>> invariant_information(views, views, torch.zeros(1, 1, 2, dtype=torch.uint8))  # -log 2
        tensor(-0.6931)
    """
    check_non_negative(entropy_weight=entropy_weight)
    return two_view_term(first, second, labels, entropy_weight=entropy_weight, ignore_index=ignore_index).value


class InvariantInformation(TwoViewObjective):
    """`invariant_information` of two views of the unlabeled images: one term ``name/network`` each.

    The second view is the first one in other colors, mirrored or not; its predictions are mirrored back.

    Use: unlabeled images in two views, if each batch contains all classes.
    Assumes: what distinguishes classes is the same in both views, and a batch contains all classes.
    Invariances: a shift of a pixel's logits; permutations of the pixels and of the predicted classes; an exchange of
        the views.
    Degenerate solutions: permuted classes; any partition that both views allow, such as by position. The gradient is 0
        if all pixels have the same prediction. It favors classes of equal frequency.
    Cost: two forward passes of the unlabeled images, two maps, a product of tables.
    Args: see `invariant_information` and `TwoViewObjective`.
    Example:
        >>> import torch
        >>> from segmi.types import Batch, Output, Views
        >>> views = Views(seen=torch.ones(1, 1, 2, dtype=torch.bool), flipped=torch.tensor([False]))
        >>> batch = Batch(torch.zeros(2, 3, 1, 2), torch.full((2, 1, 2), 255), views=views)
        >>> outputs = {"unet": Output(torch.tensor([[[[30.0, 0.0]], [[0.0, 30.0]]]]).expand(2, 2, 1, 2))}
        >>> InvariantInformation()(outputs, batch)["invariant_information/unet"].value
        tensor(-0.6931)
    """

    invariances = ("logit shift", "prediction permutation", "class permutation", "pixel permutation")

    def __init__(
        self, *, name: str = "invariant_information", weight: float = 1.0, entropy_weight: float = 1.0,
        frozen: Sequence[str] = (), ignore_index: int | None = IGNORE_INDEX
    ) -> None:  # fmt: skip
        super().__init__(name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        check_non_negative(entropy_weight=entropy_weight)
        self.entropy_weight = entropy_weight
