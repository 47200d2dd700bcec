"""Invariant information clustering: what two views of a pixel have in common, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segmi.losses.base import Term
from segmi.losses.unsupervised._pairs import two_view_term
from segmi.losses.unsupervised._views import TwoViews
from segmi.types import IGNORE_INDEX, Labels, Logits


def invariant_information(
    first: Logits,
    second: Logits,
    labels: Labels,
    *,
    entropy_weight: float = 1.0,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """Minus the mutual information of the classes that are predicted for a pixel in two views of it.

    ``L = -Σ_ab P(a, b) [log P(a, b) - λ log P(a) - λ log P(b)]`` with P the symmetric part of
    ``1/|V| Σ_{u∈V} p_u(a) p'_u(b)``, V the valid pixels of all images

    With the label in the place of the second view it is `soft_confusion`.

    Args:
        first: N×C×H×W, any float type, C = 1 for a binary problem.
        second: likewise, brought back onto the first pixel by pixel; gradients reach both.
        labels: N×H×W, any integer type, which only tell which pixels are ignored.
        entropy_weight: λ, at least 0; above 1 it presses for more classes.
        ignore_index: the label of ignored pixels.

    Shapes:
        the result is a scalar.

    Unit and sign: nats, for λ = 1 between -log C (every class is found again, all equally often) and 0 (the views tell
    nothing of each other), minimized; 0, attached to the graph, where no pixel is valid.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: views or shapes that do not match, a negative weight; on the CPU, ids that are neither class nor
            ignored. On other devices those give NaN, and so do NaN logits everywhere.

    Source: Ji, Henriques and Vedaldi, *Invariant Information Clustering for Unsupervised Image Classification and
    Segmentation*, ICCV 2019, eq. 3 and 5.

    Example:
        >>> import torch
        >>> views = torch.tensor([[[[30.0, 0.0]], [[0.0, 30.0]]]])
        >>> invariant_information(views, views, torch.zeros(1, 1, 2, dtype=torch.uint8))  # -log 2
        tensor(-0.6931)
    """
    return invariant_information_term(
        first, second, labels, entropy_weight=entropy_weight, ignore_index=ignore_index
    ).value


def invariant_information_term(
    first: Logits,
    second: Logits,
    labels: Labels,
    *,
    entropy_weight: float = 1.0,
    ignore_index: int = IGNORE_INDEX,
) -> Term:
    """`invariant_information` times the valid pixels, and their number."""
    check_entropy_weight(entropy_weight)
    return two_view_term(
        first, second, labels, displacement=0, window=None, entropy_weight=entropy_weight, ignore_index=ignore_index
    )


def check_entropy_weight(entropy_weight: float) -> None:
    """Refuse a negative weight."""
    if not entropy_weight >= 0:
        raise ValueError(
            f"entropy_weight: expected a number of at least 0, got {entropy_weight!r}; 1 makes it mutual information"
        )


class InvariantInformation(TwoViews):
    """`invariant_information` of two views of the images without labels: one term ``name/network`` each.

    The second view is the first one, mirrored or not, in other colors; what is predicted for it is mirrored back.

    Assumes: that what tells classes apart survives the change of view, and that a batch shows all classes.
    Invariances: a constant added to the logits of a pixel; the order of the pixels; the names of the classes, right or
        wrong; the two views exchanged.
    Degenerate solutions: classes under wrong names; any partition of the pixels that both views allow, such as that by
        position. Where all pixels get one prediction its gradient is 0, and it presses for equal shares.
    Cost: two forward passes of the images without labels, two maps, a product of tables.

    Args:
        name: the name of the terms.
        weight: their factor in the sum that is minimized.
        entropy_weight: λ, at least 0.
        frozen: networks that get no term.
        ignore_index: the label of ignored pixels.

    Example:
        >>> import torch
        >>> from segmi.types import Batch, Output, Views
        >>> views = Views(seen=torch.ones(1, 1, 2, dtype=torch.bool), flipped=torch.tensor([True]))
        >>> batch = Batch(torch.zeros(2, 3, 1, 2), torch.full((2, 1, 2), 255), views=views)
        >>> sure = torch.tensor([[[[30.0, 0.0]], [[0.0, 30.0]]]])
        >>> outputs = {"unet": Output(torch.cat([sure, sure.flip(-1)]))}
        >>> InvariantInformation()(outputs, batch)["invariant_information/unet"].value
        tensor(-0.6931)
    """

    invariances = ("logit shift", "prediction permutation", "class permutation", "pixel permutation")

    def __init__(
        self,
        *,
        name: str = "invariant_information",
        weight: float = 1.0,
        entropy_weight: float = 1.0,
        frozen: Sequence[str] = (),
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__(name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        check_entropy_weight(entropy_weight)
        self.entropy_weight = entropy_weight

    def between(self, first: Logits, second: Logits, labels: Labels) -> Term:
        """The loss times the pixels that the views show, and their number."""
        return invariant_information_term(
            first, second, labels, entropy_weight=self.entropy_weight, ignore_index=self.ignore_index
        )
