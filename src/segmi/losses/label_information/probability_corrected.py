"""Probability-corrected cross-entropy: the class prior is added to the logits instead of learned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segmi.losses.base import PixelLoss, Term
from segmi.losses.class_counts import ClassCounts
from segmi.losses.pixel.cross_entropy import cross_entropy_term
from segmi.losses.targets import check_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["ProbabilityCorrected", "probability_corrected"]


def probability_corrected(
    logits: Logits, labels: Labels, shares: Tensor, *, strength: float = 1.0, ignore_index: int | None = IGNORE_INDEX
) -> Tensor:
    """Return the cross-entropy of a softmax multiplied by the class prior; predictions use the plain logits.

    ``L = -1/|V| Σ_{u∈V} log [π_y^τ e^{z_uy} / Σ_c π_c^τ e^{z_uc}]``, y the class of u, V the valid pixels

    The network learns the difference of the image from the prior: at the optimum ``z_c = log p(c|x) / π_c`` up to a
    constant, and ``z_y - log Σ_c π_c e^{z_c}`` is the pointwise mutual information of image and label.

    The published loss has no prior in the numerator: for τ = 1 it is ``L + 1/|V| Σ_{u∈V} log π_y``. The difference is a
    constant of the labels, so the gradients are equal. This formula is logit adjustment (Menon et al.).

    Args:
        logits, labels: N×C×H×W (C = 1 if binary) and N×H×W integers; pixels labeled ``ignore_index`` are left out.
        shares: π, positive, one per class (two for a binary problem).
        strength: τ in [0, 1]; 0 gives cross-entropy.
    Unit and sign: nats per pixel, at least 0, minimized; 0, attached to the graph, if no pixel is valid. For τ = 1,
        ``H(Y) - L`` is a lower bound on the mutual information of image and label.
    Source: Qin, Kim and Gedeon, *Neural network classifier as mutual information evaluator*, arXiv 2106.10471, 2021
        (abstract only); as logit adjustment, Menon et al., *Long-tail learning via logit adjustment*, ICLR 2021
        (formula from the literature).
    Example:
        >>> labels = torch.tensor([[[0, 0, 0, 1]]])
        >>> probability_corrected(torch.zeros(1, 2, 1, 4), labels, torch.tensor([0.75, 0.25]))  # H(Y)
        tensor(0.5623)
    """
    return probability_corrected_term(logits, labels, shares, strength, ignore_index).value


def probability_corrected_term(
    logits: Logits, labels: Labels, shares: Tensor, strength: float, ignore_index: int | None
) -> Term:
    """Return `probability_corrected` as the sum over the valid pixels and their number."""
    _check_strength(strength)
    check_targets(logits, labels, ignore_index)
    offsets = strength * torch.log(shares)
    if logits.shape[1] == 1:
        # one logit: the difference of the log-priors
        offsets = (offsets[1] - offsets[0]).reshape(1)
    z = upcast(logits)
    return cross_entropy_term(z + offsets.to(z.dtype).view(1, -1, 1, 1), labels, ignore_index)


def _check_strength(strength: float) -> None:
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: expected a number from 0 to 1, got {strength!r}. Fix: use 1 for the full prior")


class ProbabilityCorrected(PixelLoss):
    """`probability_corrected` as a module; it replaces the cross-entropy.

    Use: rare classes whose recall matters more than pixel accuracy, in place of cross-entropy.
    Assumes: the class frequencies equal the frequencies in the training images.
    Invariances: a shift of a pixel's logits; a permutation of the pixels.
    Degenerate solutions: none. It overestimates rare classes by design, since predictions lack the prior: their recall
        increases and pixel accuracy decreases.
    Cost: one map of the size of the logits; nothing at inference.
    Args:
        class_counts: pixels or frequencies per class; default: counted in the training images.
        strength, ignore_index: see `probability_corrected`.
    Raises: RuntimeError if the class counts are not set when it is called.
    """

    family = "label_information"
    requires = ("class counts",)
    invariances = ("logit shift", "pixel permutation")

    def __init__(
        self,
        *,
        class_counts: Sequence[float] | None = None,
        strength: float = 1.0,
        ignore_index: int | None = IGNORE_INDEX,
    ) -> None:
        super().__init__(ignore_index=ignore_index)
        _check_strength(strength)
        self.classes, self.strength = ClassCounts(class_counts), strength

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return the sum over the valid pixels and their number."""
        check_targets(logits, labels, self.ignore_index)
        shares = self.classes.shares(logits)
        return probability_corrected_term(logits, labels, shares, self.strength, self.ignore_index)
