"""Information maximization: predictions that are certain one by one and diverse together."""

from __future__ import annotations

from torch import Tensor

from segmi.information import entropy
from segmi.losses.base import ImageSubset, Loss, Term
from segmi.losses.probabilities import count_valid
from segmi.losses.unsupervised._marginal import marginal_term
from segmi.losses.unsupervised._rows import required_by
from segmi.types import IGNORE_INDEX, Labels, Logits


def information_maximization(
    logits: Logits, labels: Labels, *, certainty: float = 1.0, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """Minus the information of pixel and predicted class: mean entropy less the entropy of the mean.

    ``L = α 1/|V| Σ_{u∈V} H(p_u) - H(p̄)`` with ``p̄ = 1/|V| Σ_{u∈V} p_u``, V the valid pixels of all images

    With α = 1 it is ``-I(X; Ŷ)``, which is ``-I(Y; Ŷ) - I(X; Ŷ|Y)`` of whatever labels the pixels may have: what
    `soft_confusion` maximizes plus what `conditional_information` minimizes.

    Args:
        logits: N×C×H×W, any float type, C = 1 for a binary problem.
        labels: N×H×W, any integer type, which only tell which pixels are ignored.
        certainty: α, at least 0, the weight of the mean entropy.
        ignore_index: the label of ignored pixels.

    Shapes:
        the result is a scalar.

    Unit and sign: nats, at least -log C, minimized; 0 where all pixels get one certain or, for α = 1, any one
    prediction; 0, attached to the graph, where no pixel is valid.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: a negative certainty, shapes that do not match; on the CPU, ids that are neither class nor ignored. On
            other devices those give NaN, and so do NaN logits everywhere.

    Source: Bridle, Heading and MacKay, *Unsupervised Classifiers, Mutual Information and 'Phantom Targets'*, NIPS 1991;
    Krause, Perona and Gomes, *Discriminative Clustering by Regularized Information Maximization*, NIPS 2010; with α,
    Boudiaf et al., *Transductive Information Maximization for Few-Shot Learning*, NeurIPS 2020 (read in its abstract;
    the older two not at source).

    Example:
        >>> import torch
        >>> diverse = torch.tensor([[[[30.0, 0.0]], [[0.0, 30.0]]]])
        >>> information_maximization(diverse, torch.zeros(1, 1, 2, dtype=torch.uint8))  # -log 2
        tensor(-0.6931)
    """
    return information_maximization_term(logits, labels, certainty=certainty, ignore_index=ignore_index).value


def information_maximization_term(
    logits: Logits, labels: Labels, *, certainty: float = 1.0, ignore_index: int = IGNORE_INDEX
) -> Term:
    """`information_maximization` times the valid pixels, and their number."""
    _check_certainty(certainty)

    def value(mean: Tensor, mean_entropy: Tensor) -> Tensor:
        return certainty * mean_entropy - entropy(mean, check=False)

    return marginal_term(logits, labels, value, ignore_index=ignore_index)


def _check_certainty(certainty: float) -> None:
    if not certainty >= 0:
        raise ValueError(f"certainty: expected a number of at least 0, got {certainty!r}; 1 makes it information")


class InformationMaximization(Loss):
    """`information_maximization` as a module, to be added to a pixel-wise loss with a weight of 0.01 to 0.1.

    Assumes: that all classes take equal parts of the pixels of a batch, which scenes do not: where the shares are
        known, `segmi.losses.MarginalPrior` with entropy minimization says so.
    Invariances: a constant added to the logits of a pixel; the order of the pixels; the names of the classes, right or
        wrong.
    Degenerate solutions: any certain prediction with equal shares, whatever it has to do with the image. Where all
        pixels get one prediction its gradient is 0.
    Cost: two maps of the size of the logits, and the forward pass of the images without labels.

    Args:
        certainty: α, at least 0.
        applies_to: the images that it looks at: ``labeled``, ``unlabeled`` or ``all``.
        ignore_index: the label of ignored pixels.

    Example:
        >>> import torch
        >>> InformationMaximization()(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8)).abs() < 1e-6
        tensor(True)
    """

    family = "unsupervised"
    invariances = ("logit shift", "prediction permutation", "class permutation", "pixel permutation")
    scope = "global"

    def __init__(
        self, *, certainty: float = 1.0, applies_to: ImageSubset = "labeled", ignore_index: int = IGNORE_INDEX
    ) -> None:
        super().__init__()
        _check_certainty(certainty)
        self.requires, self.applies_to = required_by(applies_to), applies_to
        self.certainty, self.ignore_index = certainty, ignore_index

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The loss times the valid pixels, and their number."""
        return information_maximization_term(logits, labels, certainty=self.certainty, ignore_index=self.ignore_index)

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The number of valid pixels."""
        return {"": count_valid(logits, labels, self.ignore_index)}
