"""Probability-corrected cross-entropy: the prior of the classes is said, not learned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segmi.losses.base import Loss, Term
from segmi.losses.class_counts import ClassCounts
from segmi.losses.pixel.cross_entropy import cross_entropy_term
from segmi.losses.probabilities import count_valid
from segmi.losses.targets import check_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits


def probability_corrected(
    logits: Logits, labels: Labels, shares: Tensor, *, strength: float = 1.0, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """The cross-entropy of a softmax that is multiplied by the prior of the classes; the plain logits predict.

    ``L = -1/|V| Σ_{u∈V} log [π_y^τ e^{z_uy} / Σ_c π_c^τ e^{z_uc}]`` with y the class of u, V the valid pixels

    The network then has to say only what the image adds to the prior: at the optimum ``z_c = log p(c|x) / π_c`` up to
    a constant, so that ``z_y - log Σ_c π_c e^{z_c}`` is the pointwise mutual information of image and label.

    Args:
        logits: N×C×H×W, any float type, C = 1 for a binary problem.
        labels: N×H×W, any integer type.
        shares: π, positive, one per class (two for a binary problem).
        strength: τ in [0, 1]; 0 is plain cross-entropy.
        ignore_index: the label of ignored pixels.

    Shapes:
        the result is a scalar.

    Unit and sign: nats per pixel, at least 0, minimized; 0, attached to the graph, where no pixel is valid. For τ = 1,
    ``H(Y) - L`` bounds the mutual information of image and label from below, as for the plain cross-entropy.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: a strength outside [0, 1], shapes that do not match; on the CPU, ids that are neither class nor
            ignored. On other devices those give NaN, and so do NaN logits everywhere.

    Source: Qin, Kim and Gedeon, *Neural network classifier as mutual information evaluator*, arXiv 2106.10471, 2021
    (read in its abstract; the formula is given from knowledge of the literature); as logit adjustment, Menon et al.,
    *Long-tail learning via logit adjustment*, ICLR 2021 (not read at source).

    Example:
        >>> labels = torch.tensor([[[0, 0, 0, 1]]])
        >>> probability_corrected(torch.zeros(1, 2, 1, 4), labels, torch.tensor([0.75, 0.25]))  # H(Y)
        tensor(0.5623)
    """
    return probability_corrected_term(logits, labels, shares, strength=strength, ignore_index=ignore_index).value


def probability_corrected_term(
    logits: Logits, labels: Labels, shares: Tensor, *, strength: float = 1.0, ignore_index: int = IGNORE_INDEX
) -> Term:
    """`probability_corrected` as the sum over valid pixels and their number."""
    _check_strength(strength)
    check_targets(logits, labels)
    offsets = strength * torch.log(shares)
    if logits.shape[1] == 1:
        offsets = (offsets[1] - offsets[0]).reshape(1)
    z = upcast(logits)
    return cross_entropy_term(z + offsets.to(z.dtype).view(1, -1, 1, 1), labels, ignore_index=ignore_index)


def _check_strength(strength: float) -> None:
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: expected a number from 0 to 1, got {strength!r}; 1 corrects for the whole prior")


class ProbabilityCorrected(Loss):
    """`probability_corrected` as a module: a loss by itself, in the place of the cross-entropy.

    Assumes: that the shares of the classes are those of the images it is trained on.
    Invariances: a constant added to the logits of a pixel; the order of the pixels.
    Degenerate solutions: none of its own. What it trains overrates rare classes on purpose: their recall rises, the
        share of right pixels falls, because the prior is missing from the prediction.
    Cost: one map of the size of the logits; nothing at inference.

    Args:
        class_counts: pixels or shares per class; taken from the training images by default.
        strength: τ in [0, 1]; 0 is plain cross-entropy.
        ignore_index: the label of ignored pixels.

    Raises:
        RuntimeError: when called, no class counts are known.

    Example:
        >>> ProbabilityCorrected(class_counts=[3, 1])(torch.zeros(1, 2, 1, 4), torch.tensor([[[0, 0, 0, 1]]]))
        tensor(0.5623)
    """

    family = "label_information"
    requires = ("class counts",)
    invariances = ("logit shift", "pixel permutation")

    def __init__(
        self, *, class_counts: Sequence[float] | None = None, strength: float = 1.0, ignore_index: int = IGNORE_INDEX
    ) -> None:
        super().__init__()
        _check_strength(strength)
        self.classes, self.strength, self.ignore_index = ClassCounts(class_counts), strength, ignore_index

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The sum over valid pixels and their number."""
        check_targets(logits, labels)
        return probability_corrected_term(
            logits, labels, self.classes.shares(logits), strength=self.strength, ignore_index=self.ignore_index
        )

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The number of valid pixels."""
        return {"": count_valid(logits, labels, self.ignore_index)}
