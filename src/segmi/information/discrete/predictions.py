"""Information quantities of labeled predictions, computed from a few sums.

For n objects i (pixels, for example) with label y_i and predicted distribution p_i, `prediction_sums` returns three
sums of size C×C, C×C and C. They can be added over batches, and all quantities below are functions of them. Y is the
label, X the object, and Ŷ a class *drawn* from p_i:

``I(X; Ŷ) = I(Y; Ŷ) + I(X; Ŷ|Y)``

The information about the object is the information about its label plus the information that distinguishes objects of
one label. The quantities describe the n objects, without an assumption on their distribution. Drawing Ŷ loses
information: ``I(Y; Ŷ)`` is less than the information in p_i about Y, which `barber_agakov_bound` bounds from below.

If nothing was counted, every quantity is 0, attached to the graph.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from segmi.information._checks import in_base, real
from segmi.information.discrete.distributions import entropy
from segmi.information.discrete.tables import conditional_entropy, mutual_information


class PredictionSums(NamedTuple):
    """Sums over labeled predictions; ``PredictionSums(*map(torch.add, a, b))`` merges two sets."""

    mass: Tensor  # C×C, ``Σ_{i: y_i = a} p_i(b)``, rows the label, columns the prediction
    log_mass: Tensor  # C×C, ``Σ_{i: y_i = a} log p_i(b)``
    surprise: Tensor  # C, ``Σ_{i: y_i = a} H(p_i)``, nats


def prediction_sums(
    log_p: Tensor, labels: Tensor, *, weights: Tensor | None = None, dim: int = -1, check: bool = True
) -> PredictionSums:
    """Return the sufficient statistics of all quantities of labeled predictions.

    Shapes:
        log_p: natural log-probabilities of C classes along ``dim``, finite, as from log_softmax.
        labels: the shape of ``log_p`` without ``dim``, int64 class indices.
        weights: the shape of ``labels``, the weight of each object; an object of weight 0 must still have a class as
            its label and finite log-probabilities; None: 1.
    Unit: probabilities and nats, summed.
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
    # C×n, with the weights at the labels
    one_hot = torch.zeros_like(rows).scatter(0, labels.reshape(1, -1), ones[None])
    p = rows.exp()
    # C×n times n×C, and C×n times n
    return PredictionSums(one_hot @ p.T, one_hot @ rows.T, one_hot @ -(p * rows).sum(0))


def soft_confusion(sums: PredictionSums) -> Tensor:
    """Return the joint table of the label and a class drawn from the prediction.

    ``Q(a, b) = 1/n Σ_{i: y_i = a} p_i(b)``

    Shapes: the result is C×C, rows the label, columns the prediction.
    Unit and sign: probabilities; all 0 if nothing was counted.
    Source: the confusion matrix of drawn instead of most probable classes.
    Example:
        >>> soft_confusion(prediction_sums(torch.tensor([[0.75, 0.25], [0.5, 0.5]]).log(), torch.tensor([0, 1])))
        tensor([[0.3750, 0.1250],
                [0.2500, 0.2500]])
    """
    return sums.mass / _count(sums)


def soft_confusion_mutual_information(sums: PredictionSums, *, base: float | None = None) -> Tensor:
    """Return the mutual information of the label and a class drawn from the prediction.

    ``I(Y; Ŷ) = Σ_ab Q(a, b) log [Q(a, b) / (Q(a) Q(b))]``, Q the `soft_confusion`

    Unit and sign: nats, between 0 (independent) and ``H(Y)``; invariant to permutations of the predicted classes.
    Source: Ji, Henriques and Vedaldi, *Invariant Information Clustering*, ICCV 2019, eq. 3, with the label as the
        second view.
    Example:
        >>> certain = torch.tensor([[30.0, 0.0], [0.0, 30.0]]).log_softmax(-1)
        >>> soft_confusion_mutual_information(prediction_sums(certain, torch.tensor([1, 0])), base=2)
        tensor(1.)
    """
    return mutual_information(soft_confusion(sums), base=base, check=False)


def prediction_mutual_information(sums: PredictionSums, *, base: float | None = None) -> Tensor:
    """Return the mutual information of the object and a class drawn from its prediction; labels do not matter.

    ``I(X; Ŷ) = H(p̄) - 1/n Σ_i H(p_i)``, ``p̄ = 1/n Σ_i p_i``

    Unit and sign: nats, between 0 (equal predictions) and ``H(p̄) ≤ log C`` (certain predictions).
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
    """Return the mutual information of object and drawn class given the label: the spread of each class.

    ``I(X; Ŷ|Y) = 1/n Σ_i KL(p_i ‖ Q_{y_i}) = H(Ŷ|Y) - 1/n Σ_i H(p_i)``, Q_a the mean prediction at label a

    Unit and sign: nats, at least 0 up to rounding; 0 if all objects of a label have the same prediction.
    Source: Yang, Hamidi, Ye, Tan and Yang, *Conditional Mutual Information Constrained Deep Learning*, IEEE TNNLS
        36(8), 2025; maximized for teachers by Ye et al., *Bayes Conditional Distribution Estimation for Knowledge
        Distillation*, ICLR 2024.
    Example:
        >>> log_p = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.9, 0.1]]).log()
        >>> conditional_prediction_mutual_information(prediction_sums(log_p, torch.tensor([0, 0, 1]))).abs() < 1e-6
        tensor(True)
    """
    within = conditional_entropy(soft_confusion(sums), check=False)
    return in_base(within - sums.surprise.sum() / _count(sums), base)


def class_separation(sums: PredictionSums, *, base: float | None = None) -> Tensor:
    """Return the mean cross-entropy of the predictions of two objects, counted if their labels differ.

    ``Γ = E[1{Y_U ≠ Y_V} H(p_U, p_V)] = -1/n² Σ_{a≠b} Σ_c (Σ_{y_i=a} p_i(c)) (Σ_{y_j=b} log p_j(c))``

    Unit and sign: nats, at least 0; 0 with fewer than two labels; unbounded, since it grows with confidence.
    Source: Yang, Hamidi, Ye, Tan and Yang, *Conditional Mutual Information Constrained Deep Learning*, IEEE TNNLS
        36(8), 2025.
    Example:
        >>> log_p = torch.tensor([[0.5, 0.5], [0.5, 0.5]]).log()  # two ordered pairs of four, log 2 each
        >>> class_separation(prediction_sums(log_p, torch.tensor([0, 1])), base=2)
        tensor(0.5000)
    """
    n = _count(sums)
    # C×C: all ordered pairs of labels; the diagonal is subtracted
    pairs = (sums.mass / n) @ (sums.log_mass / n).mT
    return in_base(pairs.diagonal().sum() - pairs.sum(), base)


def normalized_conditional_mutual_information(sums: PredictionSums) -> Tensor:
    """Return the spread of the classes relative to their separation.

    ``NCMI = I(X; Ŷ|Y) / Γ``, see `conditional_prediction_mutual_information` and `class_separation`

    Unit and sign: none, at least 0 up to rounding; smaller is more compact; 0 with fewer than two labels. Not monotone
        in the scale of the logits.
    Source: Yang, Hamidi, Ye, Tan and Yang, *Conditional Mutual Information Constrained Deep Learning*, IEEE TNNLS
        36(8), 2025.
    Example:
        >>> log_p = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]]).log()
        >>> normalized_conditional_mutual_information(prediction_sums(log_p, torch.tensor([0, 0, 1]))).abs() < 1e-6
        tensor(True)
    """
    # 0 with a single label: the ratio is then 0, not NaN
    apart = class_separation(sums)
    return conditional_prediction_mutual_information(sums) / torch.where(apart > 0, apart, torch.inf)


def label_entropy(sums: PredictionSums, *, base: float | None = None) -> Tensor:
    """Return the entropy of the observed labels.

    ``H(Y) = -Σ_a (n_a/n) log (n_a/n)``

    Unit and sign: nats, between 0 and ``log C``.
    Source: Cover and Thomas, eq. 2.1.
    Example:
        >>> label_entropy(prediction_sums(torch.full((2, 4), 0.25).log(), torch.tensor([0, 3])), base=2)
        tensor(1.)
    """
    return entropy(soft_confusion(sums).sum(1), base=base, check=False)


def prediction_cross_entropy(sums: PredictionSums, *, base: float | None = None) -> Tensor:
    """Return the cross-entropy of the predictions.

    ``CE = -1/n Σ_i log p_i(y_i)``

    Unit and sign: nats, at least 0.
    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 6.2.2.
    Example:
        >>> prediction_cross_entropy(prediction_sums(torch.full((2, 4), 0.25).log(), torch.tensor([0, 3])), base=2)
        tensor(2.)
    """
    return in_base(0 - sums.log_mass.diagonal().sum() / _count(sums), base)


def barber_agakov_bound(sums: PredictionSums, *, base: float | None = None) -> Tensor:
    """Return a lower bound on the mutual information of object and label, for any predictions.

    ``I(X; Y) = H(Y) - H(Y|X) ≥ H(Y) - CE``, with equality if ``p_i = P(Y | X = x_i)``

    Unit and sign: nats, at most ``H(Y)``; negative if the predictions are worse than the label frequencies. It is a
        bound on held-out objects, not on training objects.
    Source: Barber and Agakov, *The IM Algorithm: A Variational Approach to Information Maximization*, NIPS 2003, eq. 3.
    Example:
        >>> barber_agakov_bound(prediction_sums(torch.full((2, 4), 0.25).log(), torch.tensor([0, 3])), base=2)
        tensor(-1.)
    """
    return label_entropy(sums, base=base) - prediction_cross_entropy(sums, base=base)


def _count(sums: PredictionSums) -> Tensor:
    # n, or 1 if nothing was counted, so that 0/n is 0
    n = sums.mass.detach().sum()
    return torch.where(n > 0, n, 1.0)


def _check_labels(rows: Tensor, labels: Tensor, check: bool) -> None:
    classes = rows.shape[0]
    if labels.dtype != torch.int64:
        raise TypeError(f"labels: expected int64 class indices, got {labels.dtype}. Fix: use labels.long()")
    if tuple(labels.shape) != tuple(rows.shape[1:]):
        raise ValueError(
            f"labels: expected the shape of log_p without its classes, {tuple(rows.shape[1:])}, got "
            f"{tuple(labels.shape)}. Fix: set dim to the dimension of the classes"
        )
    if check and labels.numel() and not bool(((labels >= 0) & (labels < classes)).all()):
        raise ValueError(
            f"labels: expected class indices 0 to {classes - 1}, got {int(labels.min())} to {int(labels.max())}. "
            "Fix: give ignored objects the weight 0 and any class"
        )
