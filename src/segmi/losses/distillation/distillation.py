"""One-way distillation: a network imitates, pixel by pixel, what a teacher predicts that does not learn."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segmi.losses.base import Invariance, Term
from segmi.losses.distillation.mutual_learning import mutual_learning_term
from segmi.losses.distillation.taught import Taught, valid_pixels
from segmi.types import IGNORE_INDEX, Batch, Labels, Logits, Output


def distillation(
    logits: Logits, teacher: Logits, labels: Labels, *, temperature: float = 1.0, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """How far a network is from its teacher, pixel by pixel.

    ``L = T² 1/|V| Σ_{u∈V} KL(t_u ‖ q_u)`` with ``t, q = softmax(z / T)``, V the valid pixels

    Assumptions: the teacher knows more than the labels say. Invariances: a constant added to all logits of a pixel;
    with T → ∞ it becomes 1/(2C) times the squared distance of the logits, their means over classes removed. Degenerate
    solutions: a teacher's mistakes are learned like the rest; the minimum, 0, is the teacher itself. Cost: the
    teacher's forward pass.

    Args:
        logits: of the network that learns, C = 1 for a binary problem.
        teacher: of the one that teaches; no gradient reaches it.
        labels: only tell which pixels are ignored.
        temperature: T, above 0.
        ignore_index: the label of ignored pixels.

    Shapes:
        logits, teacher: N×C×H×W; labels: N×H×W; the result is a scalar.

    Unit and sign: nats per pixel, at least 0, minimized; 0, attached to the graph, where no pixel is valid.

    Raises:
        TypeError, ValueError: as `segmi.losses.mutual_learning`.

    Source: Hinton, Vinyals and Dean, *Distilling the Knowledge in a Neural Network*, 2015; pixel by pixel as in the
        code released with CIRKD (Yang et al., CVPR 2022): T = 1, weight 1.

    Example:
        >>> import torch
        >>> known = torch.tensor([200.0, 0.0]).view(1, 2, 1, 1)
        >>> distillation(torch.zeros(1, 2, 1, 1), known, torch.zeros(1, 1, 1, dtype=torch.long))  # log 2
        tensor(0.6931)
    """
    return distillation_term(logits, teacher, labels, temperature=temperature, ignore_index=ignore_index).value


def distillation_term(
    logits: Logits, teacher: Logits, labels: Labels, *, temperature: float = 1.0, ignore_index: int = IGNORE_INDEX
) -> Term:
    """`distillation` as the sum over the valid pixels and their number."""
    return mutual_learning_term(logits, [teacher], labels, temperature=temperature, ignore_index=ignore_index)


class Distillation(Taught):
    """`distillation` of every network that learns from those that are frozen, on average over them.

    Where a frozen network is an average of the weights of one that learns, this is a network that teaches itself: the
    self-ensemble, a control for what other networks have to say.

    Args:
        name: the name of the terms.
        weight: their factor in the sum that is minimized.
        temperature: T, above 0.
        frozen: the networks that teach.
        ignore_index: the label of ignored pixels.

    Example:
        >>> import torch
        >>> outputs = {"a": Output(torch.zeros(1, 2, 1, 1)), "t": Output(torch.tensor([200.0, 0.0]).view(1, 2, 1, 1))}
        >>> batch = Batch(torch.zeros(1, 3, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8))
        >>> Distillation(frozen=["t"])(outputs, batch)["distillation/a"].value
        tensor(0.6931)
    """

    family = "distillation"
    requires = ("teacher",)
    invariances: tuple[Invariance, ...] = (
        "logit shift",
        "prediction permutation",
        "class permutation",
        "pixel permutation",
    )

    def __init__(
        self,
        *,
        name: str = "distillation",
        weight: float = 1.0,
        temperature: float = 1.0,
        frozen: Sequence[str] = (),
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__(name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        if not temperature > 0:
            raise ValueError(f"temperature: expected a number above 0, got {temperature!r}; 1 leaves the logits alone")
        self.temperature = temperature

    def taught(self, student: str, learned: Output, teacher: str, taught: Output, batch: Batch) -> dict[str, Term]:
        """The divergence from one teacher."""
        return {
            "": distillation_term(
                learned.logits, taught.logits, batch.labels, temperature=self.temperature,
                ignore_index=self.ignore_index,
            )
        }  # fmt: skip

    def counted(self, student: Output, teacher: Output, batch: Batch) -> dict[str, Tensor]:
        """The valid pixels."""
        return {"": valid_pixels(student, batch, self.ignore_index)}
