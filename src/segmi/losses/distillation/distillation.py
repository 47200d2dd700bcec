"""Knowledge distillation: a network imitates the predictions of a frozen teacher, pixel by pixel."""

from __future__ import annotations

from torch import Tensor

from segmi.losses.base import Term
from segmi.losses.distillation._network_objectives import LogitTeacherObjective
from segmi.losses.distillation.mutual_learning import mutual_learning_term
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["Distillation", "distillation"]


def distillation(
    logits: Logits,
    teacher: Logits,
    labels: Labels,
    *,
    temperature: float = 1.0,
    ignore_index: int | None = IGNORE_INDEX,
) -> Tensor:
    """Return the mean divergence of a network from its teacher.

    ``L = T² 1/|V| Σ_{u∈V} KL(t_u ‖ q_u)``, ``t, q = softmax(z / T)``, V the valid pixels

    Assumptions: the teacher knows more than the labels. Invariances: a constant added to all logits of a pixel; as
    T → ∞ the loss tends to 1/(2C) times the squared distance of the logits after removing their means over classes.
    Degenerate solutions: errors of the teacher are learned too; the minimum, 0, is the teacher itself. Cost: the
    forward pass of the teacher.

    Args:
        logits, teacher: N×C×H×W, of the network that learns and of its teacher, which gets no gradient.
        labels: N×H×W integers; only ``ignore_index`` is used.
        temperature: T, above 0.
    Unit and sign: nats per pixel, at least 0, minimized; 0, attached to the graph, if no pixel is valid.
    Source: Hinton, Vinyals and Dean, *Distilling the Knowledge in a Neural Network*, 2015; by pixel as in the code
        released with CIRKD (Yang et al., CVPR 2022), with T = 1 and weight 1.
    Example:
        >>> import torch
        >>> known = torch.tensor([200.0, 0.0]).view(1, 2, 1, 1)
        >>> distillation(torch.zeros(1, 2, 1, 1), known, torch.zeros(1, 1, 1, dtype=torch.long))  # log 2
        tensor(0.6931)
    """
    return distillation_term(logits, teacher, labels, temperature, ignore_index).value


def distillation_term(
    logits: Logits, teacher: Logits, labels: Labels, temperature: float, ignore_index: int | None
) -> Term:
    """Return `distillation` as the sum over the valid pixels and their number."""
    return mutual_learning_term(logits, [teacher], labels, ignore_index, temperature=temperature)


class Distillation(LogitTeacherObjective):
    """`distillation` of every trained network, averaged over the frozen networks.

    If a frozen network is a moving average of the weights of a trained one, this is self-distillation, a control for
    what other networks contribute.

    Use: a small network that learns from a large, frozen one in addition to the labels.
    Args: see `distillation` and `TeacherObjective`.
    Example:
        >>> import torch
        >>> from segmi.types import Batch, Output
        >>> outputs = {"a": Output(torch.zeros(1, 2, 1, 1)), "t": Output(torch.tensor([200.0, 0.0]).view(1, 2, 1, 1))}
        >>> batch = Batch(torch.zeros(1, 3, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8))
        >>> Distillation(frozen=["t"])(outputs, batch)["distillation/a"].value
        tensor(0.6931)
    """

    def logit_term(self, logits: Logits, teacher: Logits, labels: Labels) -> Term:
        """Return `distillation` as a term."""
        return distillation_term(logits, teacher, labels, self.temperature, self.ignore_index)
