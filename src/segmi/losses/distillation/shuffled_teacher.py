"""Shuffled teacher: distillation from the teacher's predictions of other pixels, a control."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor

from segmi.losses.base import Invariance, Outputs, Term
from segmi.losses.distillation._network_objectives import LogitTeacherObjective
from segmi.losses.distillation.distillation import distillation_term
from segmi.losses.features import shuffled_positions
from segmi.losses.option_checks import check_choice
from segmi.losses.targets import read_targets
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["ShuffledTeacher", "shuffled_teacher"]

Keep = Literal["class", "nothing"]


def shuffled_teacher(
    logits: Logits, teacher: Logits, labels: Labels, *, keep: Keep = "class", seed: int = 0, temperature: float = 1.0,
    ignore_index: int | None = IGNORE_INDEX
) -> Tensor:  # fmt: skip
    """Return the mean divergence of a network from its teacher's prediction of another pixel of the same image.

    ``L = T² 1/|V| Σ_{u∈V} KL(t_π(u) ‖ q_u)``, π a permutation of the valid pixels of an image

    The information in the teacher's predictions is ``I(U; Ŷ) = I(Y; Ŷ) + I(U; Ŷ | Y)``: about the class of a pixel, and
    beyond it. With ``keep="class"``, π permutes pixels of the same class: the first part stays (which classes are
    similar, and how confident to be), the second is removed. With ``"nothing"`` both are removed.

    Args:
        logits, teacher: N×C×H×W, of the network that learns and of its teacher, which gets no gradient.
        labels: N×H×W integers; pixels labeled ``ignore_index`` are left out.
        keep: the property that the permutation preserves: the true ``class`` of the pixel, or ``nothing``.
        seed: of the permutation, which is a function of the seed and the labels of an image.
        temperature: T, above 0.
    Unit and sign: nats per pixel, at least 0, minimized; 0, attached to the graph, if no pixel is valid.
    Source: introduced here, as a control for `distillation`.
    Example:
        >>> import torch
        >>> constant = torch.tensor([9.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
        >>> shuffled_teacher(constant, constant, torch.zeros(1, 4, 4, dtype=torch.long))
        tensor(0.)
    """
    return shuffled_teacher_term(logits, teacher, labels, keep, seed, temperature, ignore_index).value


def shuffled_teacher_term(
    logits: Logits, teacher: Logits, labels: Labels, keep: Keep, seed: int, temperature: float, ignore_index: int | None
) -> Term:
    """Return `shuffled_teacher` as the sum over the valid pixels and their number."""
    check_choice("keep", keep, get_args(Keep))
    targets = read_targets(logits, labels, ignore_index)
    # N×(H·W) flat positions, the same for all channels
    order = shuffled_positions(targets.classes, targets.valid, within_class=keep == "class", seed=seed)
    moved = teacher.detach().flatten(2)
    moved = moved.gather(2, order[:, None].expand_as(moved)).view(teacher.shape)
    # labels only select valid pixels, and π maps valid pixels to valid pixels
    return distillation_term(logits, moved, labels, temperature, ignore_index)


class ShuffledTeacher(LogitTeacherObjective):
    """`shuffled_teacher` of every trained network, averaged over the frozen networks.

    Use: a control that shows whether a teacher provides more than the class confusions.
    Assumes: nothing about the teacher.
    Invariances: as `Distillation` per pixel, and a permutation of the teacher's pixels within a class.
    Degenerate solutions: the optimum is the teacher's mean prediction of the class: label smoothing by the teacher's
        confusions for ``keep="class"``, by the class frequencies of the image for ``"nothing"``.
    Cost: as `Distillation`, and two sorts of the pixels.
    Args: see `shuffled_teacher` and `TeacherObjective`.
    """

    invariances: tuple[Invariance, ...] = ("logit shift", "prediction permutation")

    def __init__(
        self, *, name: str = "shuffled_teacher", weight: float = 1.0, keep: Keep = "class", temperature: float = 1.0,
        frozen: Sequence[str] = (), ignore_index: int | None = IGNORE_INDEX
    ) -> None:  # fmt: skip
        super().__init__(name=name, weight=weight, temperature=temperature, frozen=frozen, ignore_index=ignore_index)
        check_choice("keep", keep, get_args(Keep))
        self.keep: Keep = keep
        self.seed = 0

    def prepare(self, outputs: Outputs, seed: int) -> None:
        """Store the seed of the permutations."""
        self.seed = seed

    def logit_term(self, logits: Logits, teacher: Logits, labels: Labels) -> Term:
        """Return `shuffled_teacher` as a term."""
        return shuffled_teacher_term(logits, teacher, labels, self.keep, self.seed, self.temperature, self.ignore_index)
