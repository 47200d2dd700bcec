"""Local invariant information: a pixel and the neighborhood of its partner in the other view."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segmi.losses.option_checks import check_non_negative
from segmi.losses.unsupervised._unlabeled import TwoViewObjective, two_view_term
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["LocalInvariantInformation", "local_invariant_information"]


def local_invariant_information(
    first: Logits, second: Logits, labels: Labels, *, displacement: int = 1, window: int | None = None,
    entropy_weight: float = 1.0, ignore_index: int | None = IGNORE_INDEX
) -> Tensor:  # fmt: skip
    """Return minus the mutual information of a pixel and the pixels around its partner.

    ``L = mean_{t, w} -Σ_ab P_tw(a, b) [log P_tw(a, b) - λ log P_tw(a) - λ log P_tw(b)]``, P_tw the symmetric part of
    the mean of ``p_u(a) p'_{u+t}(b)`` over the pixels u of window w in all images, ``t ∈ {-T, …, T}²``; the mean is
    weighted by the number of pairs

    Args:
        first, second: N×C×H×W (C = 1 if binary), aligned by pixel; gradients reach both.
        labels: N×H×W integers; pairs with a pixel labeled ``ignore_index`` are left out.
        displacement: T, at least 0, less than the side of the images.
        window: side length of windows with a separate table each; None: one window.
        entropy_weight: λ, at least 0.
    Unit and sign: nats, for λ = 1 between -log C and 0, minimized; 0, attached to the graph, if no pixel is valid.
    Source: Ji, Henriques and Vedaldi, *Invariant Information Clustering*, ICCV 2019, eq. 6 (one table per
        displacement); with windows and few labels, Peng, Pedersoli and Desrosiers, *Mutual Information Deep
        Regularization for Semi-supervised Segmentation*, MIDL 2020 (abstract, settings and released code). With
        ``window``, this leaves out their overlap of windows by half a side and their equal weight of windows at the
        border, and it is computed on the predictions, not on features of decoder layers with clustering heads.
    Example:
        >>> import torch
        >>> views = torch.tensor([[30.0, 30.0, 0.0, 0.0], [0.0, 0.0, 30.0, 30.0]]).view(1, 2, 1, 4).expand(1, 2, 2, 4)
        >>> local_invariant_information(views, views, torch.zeros(1, 2, 4, dtype=torch.uint8))  # less than log 2
        tensor(-0.3112)
    """
    _check(displacement, window, entropy_weight)
    return two_view_term(
        first, second, labels, displacement=displacement, window=window, entropy_weight=entropy_weight,
        ignore_index=ignore_index,
    ).value  # fmt: skip


def _check(displacement: int, window: int | None, entropy_weight: float) -> None:
    for name, value, least in (("displacement", displacement, 0), ("window", 1 if window is None else window, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name}: expected an integer of at least {least}, got {value!r}. Fix: count pixels")
    check_non_negative(entropy_weight=entropy_weight)


class LocalInvariantInformation(TwoViewObjective):
    """`local_invariant_information` of two views of the unlabeled images: one term ``name/network`` each.

    Added to a cross-entropy on labeled images it is semi-supervised training; the published weight is 0.1.

    Use: unlabeled images in two views, if neighbors usually have the same class.
    Assumes: neighbors usually have one class, what distinguishes classes is the same in both views, and the windows of
        a batch contain several classes.
    Invariances: a shift of a pixel's logits; a permutation of the predicted classes; an exchange of the views.
    Degenerate solutions: as `InvariantInformation`. Displacements penalize borders and so favor smooth maps.
    Cost: two forward passes of the unlabeled images, and (2T + 1)² products of tables.
    Args: see `local_invariant_information` and `TwoViewObjective`.
    """

    invariances = ("logit shift", "prediction permutation", "class permutation")

    def __init__(
        self, *, name: str = "local_invariant_information", weight: float = 1.0, displacement: int = 1,
        window: int | None = None, entropy_weight: float = 1.0, frozen: Sequence[str] = (),
        ignore_index: int | None = IGNORE_INDEX
    ) -> None:  # fmt: skip
        super().__init__(name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        _check(displacement, window, entropy_weight)
        self.displacement, self.window, self.entropy_weight = displacement, window, entropy_weight
