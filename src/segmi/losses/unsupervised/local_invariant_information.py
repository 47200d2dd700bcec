"""Local invariant information: a pixel and the surroundings of its partner in another view."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segmi.losses.base import Term
from segmi.losses.unsupervised._pairs import two_view_term
from segmi.losses.unsupervised._views import TwoViews
from segmi.losses.unsupervised.invariant_information import check_entropy_weight
from segmi.types import IGNORE_INDEX, Labels, Logits


def local_invariant_information(
    first: Logits,
    second: Logits,
    labels: Labels,
    *,
    displacement: int = 1,
    window: int | None = None,
    entropy_weight: float = 1.0,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """Minus the mutual information of a pixel and those around its partner, averaged over displacements and windows.

    ``L = mean_{t, w} -Σ_ab P_tw(a, b) [log P_tw(a, b) - λ log P_tw(a) - λ log P_tw(b)]`` with P_tw the symmetric part
    of the mean of ``p_u(a) p'_{u+t}(b)`` over the pixels u of window w in all images, for all displacements
    ``t ∈ {-T, …, T}²``; the mean is weighted by the number of pairs

    Args:
        first: N×C×H×W, any float type, C = 1 for a binary problem.
        second: likewise, brought back onto the first pixel by pixel; gradients reach both.
        labels: N×H×W, any integer type, which only tell which pixels are ignored; pairs with one are left out.
        displacement: T, at least 0, less than the side of the images.
        window: the side of the windows that images are cut into, each with a table of its own; None for one window.
        entropy_weight: λ, at least 0.
        ignore_index: the label of ignored pixels.

    Shapes:
        the result is a scalar.

    Unit and sign: nats, for λ = 1 between -log C and 0, minimized; 0, attached to the graph, where no pixel is valid.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: views or shapes that do not match, a option out of range; on the CPU, ids that are neither class nor
            ignored. On other devices those give NaN, and so do NaN logits everywhere.

    Source: Ji, Henriques and Vedaldi, *Invariant Information Clustering*, ICCV 2019, eq. 6 (displacements, each with a
    table of its own); with windows and a few labels, Peng, Pedersoli and Desrosiers, *Mutual Information Deep
    Regularization for Semi-supervised Segmentation*, MIDL 2020 (read in its abstract and settings).

    Example:
        >>> import torch
        >>> views = torch.tensor([[30.0, 30.0, 0.0, 0.0], [0.0, 0.0, 30.0, 30.0]]).view(1, 2, 1, 4).expand(1, 2, 2, 4)
        >>> local_invariant_information(views, views, torch.zeros(1, 2, 4, dtype=torch.uint8))  # less than log 2
        tensor(-0.3112)
    """
    return local_invariant_information_term(
        first,
        second,
        labels,
        displacement=displacement,
        window=window,
        entropy_weight=entropy_weight,
        ignore_index=ignore_index,
    ).value


def local_invariant_information_term(
    first: Logits,
    second: Logits,
    labels: Labels,
    *,
    displacement: int = 1,
    window: int | None = None,
    entropy_weight: float = 1.0,
    ignore_index: int = IGNORE_INDEX,
) -> Term:
    """`local_invariant_information` times the valid pixels, and their number."""
    _check(displacement, window)
    check_entropy_weight(entropy_weight)
    return two_view_term(
        first,
        second,
        labels,
        displacement=displacement,
        window=window,
        entropy_weight=entropy_weight,
        ignore_index=ignore_index,
    )


def _check(displacement: int, window: int | None) -> None:
    for name, value, least in (("displacement", displacement, 0), ("window", 1 if window is None else window, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name}: expected an integer of at least {least}, got {value!r}; it counts pixels")


class LocalInvariantInformation(TwoViews):
    """`local_invariant_information` of two views of the images without labels: one term ``name/network`` each.

    Beside a cross-entropy on the images with labels it is semi-supervised training; published with a weight of 0.1.

    Assumes: that neighbors have mostly one class, that what tells classes apart survives the change of view, and that
        the windows of a batch show several classes.
    Invariances: a constant added to the logits of a pixel; the names of the classes, right or wrong; the two views
        exchanged.
    Degenerate solutions: those of `InvariantInformation`. With displacements borders cost, so smooth maps are favored.
    Cost: two forward passes of the images without labels, and (2T + 1)² products of tables.

    Args:
        name: the name of the terms.
        weight: their factor in the sum that is minimized.
        displacement: T, at least 0.
        window: the side of the windows; None for one.
        entropy_weight: λ, at least 0.
        frozen: networks that get no term.
        ignore_index: the label of ignored pixels.

    Example:
        >>> LocalInvariantInformation(displacement=2, window=64, weight=0.1).requires
        ('two views',)
    """

    invariances = ("logit shift", "prediction permutation", "class permutation")

    def __init__(
        self,
        *,
        name: str = "local_invariant_information",
        weight: float = 1.0,
        displacement: int = 1,
        window: int | None = None,
        entropy_weight: float = 1.0,
        frozen: Sequence[str] = (),
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__(name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        _check(displacement, window)
        check_entropy_weight(entropy_weight)
        self.displacement, self.window, self.entropy_weight = displacement, window, entropy_weight

    def between(self, first: Logits, second: Logits, labels: Labels) -> Term:
        """The loss times the pixels that the views show, and their number."""
        return local_invariant_information_term(
            first,
            second,
            labels,
            displacement=self.displacement,
            window=self.window,
            entropy_weight=self.entropy_weight,
            ignore_index=self.ignore_index,
        )
