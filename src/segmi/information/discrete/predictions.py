"""What predictions tell about labels, and how much of themselves they give away, read off a few sums.

Of n objects i (pixels, say) with label y_i and predicted distribution p_i, `prediction_sums` keeps three sums, of size
C×C, C×C and C. They add up over batches, and all quantities below are read off them. Y is the label, X the object, and
Ŷ a class *drawn* from p_i. One identity ties them together:

``I(X; Ŷ) = I(Y; Ŷ) + I(X; Ŷ|Y)``

What the predictions say of the object is what they say of its label plus what tells objects of one label apart. The
quantities are those of the n objects that came; nothing is assumed of how they were drawn. Drawing Ŷ loses information:
``I(Y; Ŷ)`` lies below what p_i itself tells about Y, which `barber_agakov_bound` bounds from below, so the two are not
comparable with each other.

Where nothing has been counted every quantity is 0, attached to the graph.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from segmi.information._checks import in_base, real
from segmi.information.discrete.distributions import entropy
from segmi.information.discrete.tables import conditional_entropy, mutual_information


class PredictionSums(NamedTuple):
    """Sums over labeled predictions; ``PredictionSums(*map(torch.add, a, b))`` are those of two sets together.

    Args:
        mass: C×C, ``Σ_{i: y_i = a} p_i(b)``, rows the label, columns the prediction.
        log_mass: C×C, ``Σ_{i: y_i = a} log p_i(b)``.
        surprise: C, ``Σ_{i: y_i = a} H(p_i)``, nats.
    """

    mass: Tensor
    log_mass: Tensor
    surprise: Tensor


def prediction_sums(
    log_p: Tensor, labels: Tensor, *, weights: Tensor | None = None, dim: int = -1, check: bool = True
) -> PredictionSums:
    """What the quantities of labeled predictions are read off.

    Shapes:
        log_p: natural log-probabilities of C classes along ``dim``, finite, as log_softmax gives them.
        labels: the shape of ``log_p`` without ``dim``, int64 class indices.
        weights: the shape of ``labels``; how much each object counts, 0 for one that counts nowhere (its label must be
            a class all the same, and its log-probabilities numbers); 1 where None.

    Unit: probabilities and nats, summed.

    Raises:
        TypeError: log-probabilities that are not floating-point, or labels that are not int64.
        ValueError: shapes that do not fit, or a label that is no class.

    Example:
        >>> log_p = torch.tensor([[0.75, 0.25], [0.5, 0.5]]).log()
        >>> prediction_sums(log_p, torch.tensor([0, 1])).mass
        tensor([[0.7500, 0.2500],
                [0.5000, 0.5000]])
    """
    log_p = real(log_p, "log_p", instead="pass log-probabilities, as log_softmax gives them")
    rows = log_p.movedim(dim, 0)
    _check_labels(rows, labels, check)
    rows = rows.flatten(1)
    ones = rows.new_ones(rows.shape[1]) if weights is None else weights.to(rows.dtype).flatten()
    networks = torch.zeros_like(rows).scatter(0, labels.reshape(1, -1), ones[None])
    p = rows.exp()
    return PredictionSums(networks @ p.T, networks @ rows.T, networks @ -(p * rows).sum(0))


def soft_confusion(sums: PredictionSums) -> Tensor:
    """The joint table of a label and a class drawn from the prediction.

    ``Q(a, b) = 1/n Σ_{i: y_i = a} p_i(b)``

    Shapes:
        the result is C×C, rows the label, columns the prediction.

    Unit and sign: probabilities; all 0 where nothing was counted.

    Source: the confusion matrix of predictions that are drawn instead of being the most probable ones.

    Example:
        >>> soft_confusion(prediction_sums(torch.tensor([[0.75, 0.25], [0.5, 0.5]]).log(), torch.tensor([0, 1])))
        tensor([[0.3750, 0.1250],
                [0.2500, 0.2500]])
    """
    return sums.mass / _count(sums)


def soft_confusion_mutual_information(sums: PredictionSums, *, base: float | None = None) -> Tensor:
    """What a class drawn from the prediction tells about the label.

    ``I(Y; Ŷ) = Σ_ab Q(a, b) log [Q(a, b) / (Q(a) Q(b))]``, Q the `soft_confusion`

    Unit and sign: nats, between 0 (all predictions alike, whatever they are) and ``H(Y)``; the same under any
    permutation of the predicted classes, so it does not tell a right prediction from a consistently wrong one.

    Raises:
        ValueError: an impossible ``base``.

    Source: the loss of Ji, Henriques and Vedaldi, *Invariant Information Clustering*, ICCV 2019, eq. 3, with the
    label in the place of the second view.

    Example:
        >>> certain = torch.tensor([[30.0, 0.0], [0.0, 30.0]]).log_softmax(-1)
        >>> soft_confusion_mutual_information(prediction_sums(certain, torch.tensor([1, 0])), base=2)
        tensor(1.)
    """
    return mutual_information(soft_confusion(sums), base=base, check=False)


def prediction_mutual_information(sums: PredictionSums, *, base: float | None = None) -> Tensor:
    """What a class drawn from the prediction tells about the object that it was made for; the labels do not matter.

    ``I(X; Ŷ) = H(p̄) - 1/n Σ_i H(p_i)`` with ``p̄ = 1/n Σ_i p_i``

    Unit and sign: nats, between 0 (all predictions alike) and ``H(p̄) ≤ log C`` (all certain).

    Raises:
        ValueError: an impossible ``base``.

    Source: Bridle, Heading and MacKay, *Unsupervised Classifiers, Mutual Information and 'Phantom Targets'*, NIPS 1991;
    Krause, Perona and Gomes, *Discriminative Clustering by Regularized Information Maximization*, NIPS 2010.

    Example:
        >>> sums = prediction_sums(torch.tensor([[0.5, 0.5], [0.5, 0.5]]).log(), torch.tensor([0, 1]))
        >>> prediction_mutual_information(sums)
        tensor(0.)
    """
    marginal = entropy(soft_confusion(sums).sum(0), check=False)
    return in_base(marginal - sums.surprise.sum() / _count(sums), base)


def conditional_prediction_mutual_information(sums: PredictionSums, *, base: float | None = None) -> Tensor:
    """What a class drawn from the prediction tells about the object beyond its label: how much a class is spread.

    ``I(X; Ŷ|Y) = 1/n Σ_i KL(p_i ‖ Q_{y_i}) = H(Ŷ|Y) - 1/n Σ_i H(p_i)``, Q_a the mean prediction at label a

    Unit and sign: nats, at least 0 up to rounding; 0 where all objects of a label get one prediction.

    Raises:
        ValueError: an impossible ``base``.

    Source: Yang, Hamidi, Ye, Tan and Yang, *Conditional Mutual Information Constrained Deep Learning*, IEEE TNNLS
    36(8), 2025. With the opposite sign it is what Ye et al., *Bayes Conditional Distribution Estimation for Knowledge
    Distillation*, ICLR 2024, train teachers for.

    Example:
        >>> log_p = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.9, 0.1]]).log()
        >>> conditional_prediction_mutual_information(prediction_sums(log_p, torch.tensor([0, 0, 1]))).abs() < 1e-6
        tensor(True)
    """
    within = conditional_entropy(soft_confusion(sums), check=False)
    return in_base(within - sums.surprise.sum() / _count(sums), base)


def class_separation(sums: PredictionSums, *, base: float | None = None) -> Tensor:
    """The mean cross-entropy between the predictions of two objects, counted where their labels differ.

    ``Γ = E[1{Y_U ≠ Y_V} H(p_U, p_V)] = -1/n² Σ_{a≠b} Σ_c (Σ_{y_i=a} p_i(c)) (Σ_{y_j=b} log p_j(c))``

    The pairs need not be visited: the sums over either label are enough.

    Unit and sign: nats, at least 0; 0 with fewer than two labels; without bound, for it grows with confidence.

    Raises:
        ValueError: an impossible ``base``.

    Source: Yang, Hamidi, Ye, Tan and Yang, *Conditional Mutual Information Constrained Deep Learning*, IEEE TNNLS
    36(8), 2025.

    Example:
        >>> log_p = torch.tensor([[0.5, 0.5], [0.5, 0.5]]).log()  # two ordered pairs of four, log 2 each
        >>> class_separation(prediction_sums(log_p, torch.tensor([0, 1])), base=2)
        tensor(0.5000)
    """
    n = _count(sums)
    pairs = (sums.mass / n) @ (sums.log_mass / n).mT
    return in_base(pairs.diagonal().sum() - pairs.sum(), base)


def normalized_conditional_mutual_information(sums: PredictionSums) -> Tensor:
    """How much classes are spread, relative to how far they stand apart.

    ``NCMI = I(X; Ŷ|Y) / Γ``, see `conditional_prediction_mutual_information` and `class_separation`

    Unit and sign: none, at least 0 up to rounding; the smaller, the more compact; 0 where Γ is 0, with fewer than two
    labels. Not monotone in the scale of the logits.

    Source: Yang, Hamidi, Ye, Tan and Yang, *Conditional Mutual Information Constrained Deep Learning*, IEEE TNNLS
    36(8), 2025.

    Example:
        >>> log_p = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]]).log()
        >>> normalized_conditional_mutual_information(prediction_sums(log_p, torch.tensor([0, 0, 1]))).abs() < 1e-6
        tensor(True)
    """
    apart = class_separation(sums)
    return conditional_prediction_mutual_information(sums) / torch.where(apart > 0, apart, torch.inf)


def label_entropy(sums: PredictionSums, *, base: float | None = None) -> Tensor:
    """The entropy of the labels that came.

    ``H(Y) = -Σ_a (n_a/n) log (n_a/n)``

    Unit and sign: nats, between 0 and ``log C``.

    Raises:
        ValueError: an impossible ``base``.

    Source: Cover and Thomas, eq. 2.1.

    Example:
        >>> label_entropy(prediction_sums(torch.full((2, 4), 0.25).log(), torch.tensor([0, 3])), base=2)
        tensor(1.)
    """
    return entropy(soft_confusion(sums).sum(1), base=base, check=False)


def prediction_cross_entropy(sums: PredictionSums, *, base: float | None = None) -> Tensor:
    """The mean surprise at the label.

    ``CE = -1/n Σ_i log p_i(y_i)``

    Unit and sign: nats, at least 0.

    Raises:
        ValueError: an impossible ``base``.

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 6.2.2.

    Example:
        >>> prediction_cross_entropy(prediction_sums(torch.full((2, 4), 0.25).log(), torch.tensor([0, 3])), base=2)
        tensor(2.)
    """
    return in_base(0 - sums.log_mass.diagonal().sum() / _count(sums), base)


def barber_agakov_bound(sums: PredictionSums, *, base: float | None = None) -> Tensor:
    """A lower bound on what the object tells about its label, for any predictions.

    ``I(X; Y) = H(Y) - H(Y|X) ≥ H(Y) - CE``, with equality where ``p_i = P(Y | X = x_i)``

    Unit and sign: nats, at most ``H(Y)``; negative where the predictions are worse than the frequencies of the labels.
    It is a bound on the law that the objects come from; on objects that were trained on it is one on nothing.

    Raises:
        ValueError: an impossible ``base``.

    Source: Barber and Agakov, *The IM Algorithm: A Variational Approach to Information Maximization*, NIPS 2003, eq. 3.

    Example:
        >>> barber_agakov_bound(prediction_sums(torch.full((2, 4), 0.25).log(), torch.tensor([0, 3])), base=2)
        tensor(-1.)
    """
    return label_entropy(sums, base=base) - prediction_cross_entropy(sums, base=base)


def _count(sums: PredictionSums) -> Tensor:
    """n; 1 where nothing was counted, so that 0/n is 0."""
    n = sums.mass.detach().sum()
    return torch.where(n > 0, n, 1.0)


def _check_labels(rows: Tensor, labels: Tensor, check: bool) -> None:
    classes = rows.shape[0]
    if labels.dtype != torch.int64:
        raise TypeError(f"labels: expected int64 class indices, got {labels.dtype}; use labels.long()")
    if tuple(labels.shape) != tuple(rows.shape[1:]):
        raise ValueError(
            f"labels: expected the shape of log_p without its classes, {tuple(rows.shape[1:])}, got "
            f"{tuple(labels.shape)}; say with dim where the classes are"
        )
    if check and labels.numel() and not bool(((labels >= 0) & (labels < classes)).all()):
        raise ValueError(
            f"labels: expected class indices 0 to {classes - 1}, got {int(labels.min())} to {int(labels.max())}; "
            "give what counts nowhere the weight 0 and any class"
        )
