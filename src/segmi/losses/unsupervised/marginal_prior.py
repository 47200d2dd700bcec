"""Marginal prior: the classes shall take the shares of a batch that they are known to have."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segmi.information import kl_divergence
from segmi.losses.base import ImageSubset, Loss, Requirement, Term
from segmi.losses.class_counts import ClassCounts
from segmi.losses.probabilities import count_valid, precise
from segmi.losses.targets import check_targets
from segmi.losses.unsupervised._marginal import marginal_term
from segmi.losses.unsupervised._rows import required_by
from segmi.types import IGNORE_INDEX, Labels, Logits


def marginal_prior(logits: Logits, labels: Labels, shares: Tensor, *, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """How far the mean prediction of a batch is from the shares that the classes are known to have.

    ``L = KL(p̄ ‖ π)`` with ``p̄ = 1/|V| Σ_{u∈V} p_u``, V the valid pixels of all images

    In the place of ``-H(p̄)``, which is ``KL(p̄ ‖ uniform) - log C``, it makes information maximization fit for scenes.

    Args:
        logits: N×C×H×W, any float type, C = 1 for a binary problem.
        labels: N×H×W, any integer type, which only tell which pixels are ignored.
        shares: π, positive, with sum 1, one per class (two for a binary problem).
        ignore_index: the label of ignored pixels.

    Shapes:
        the result is a scalar.

    Unit and sign: nats, at least 0, minimized; 0, attached to the graph, where no pixel is valid.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: shapes that do not match; on the CPU, ids that are neither class nor ignored. On other devices those
            give NaN, and so do NaN logits everywhere.

    Source: Boudiaf et al., *Few-Shot Segmentation Without Meta-Learning: A Good Transductive Inference Is All You
    Requirement?*, CVPR 2021 (from its description elsewhere, not read), where the shares are estimated for each image.

    Example:
        >>> import torch
        >>> labels = torch.zeros(1, 1, 2, dtype=torch.uint8)
        >>> marginal_prior(torch.zeros(1, 2, 1, 2), labels, torch.tensor([0.75, 0.25]))
        tensor(0.1438)
    """
    return marginal_prior_term(logits, labels, shares, ignore_index=ignore_index).value


def marginal_prior_term(logits: Logits, labels: Labels, shares: Tensor, *, ignore_index: int = IGNORE_INDEX) -> Term:
    """`marginal_prior` times the valid pixels, and their number."""

    def value(mean: Tensor, mean_entropy: Tensor) -> Tensor:
        return kl_divergence(mean, precise(shares), check=False) + 0 * mean_entropy

    return marginal_term(logits, labels, value, ignore_index=ignore_index)


class MarginalPrior(Loss):
    """`marginal_prior` as a module, with the shares of the classes in the labeled training images.

    Assumes: that the images of a batch together show the classes in the shares of the dataset; small batches do not,
        and are bent towards what they do not show.
    Invariances: a constant added to the logits of a pixel; the order of the pixels.
    Degenerate solutions: any prediction with the right shares, such as the shares themselves at every pixel.
    Cost: two maps of the size of the logits, and the forward pass of the images without labels.

    Args:
        class_counts: pixels or shares per class; taken from the labeled training images by default.
        applies_to: the images that it looks at: ``labeled``, ``unlabeled`` or ``all``.
        ignore_index: the label of ignored pixels.

    Raises:
        RuntimeError: when called, no class counts are known.

    Example:
        >>> import torch
        >>> MarginalPrior(class_counts=[3, 1])(torch.zeros(1, 2, 1, 2), torch.zeros(1, 1, 2, dtype=torch.uint8))
        tensor(0.1438)
    """

    family = "unsupervised"
    requires: tuple[Requirement, ...] = ("class counts",)
    invariances = ("logit shift", "pixel permutation")
    scope = "global"

    def __init__(
        self,
        *,
        class_counts: Sequence[float] | None = None,
        applies_to: ImageSubset = "labeled",
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__()
        self.requires, self.applies_to = ("class counts", *required_by(applies_to)), applies_to
        self.classes, self.ignore_index = ClassCounts(class_counts), ignore_index

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The loss times the valid pixels, and their number."""
        check_targets(logits, labels)
        return marginal_prior_term(logits, labels, self.classes.shares(logits), ignore_index=self.ignore_index)

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The number of valid pixels."""
        return {"": count_valid(logits, labels, self.ignore_index)}
