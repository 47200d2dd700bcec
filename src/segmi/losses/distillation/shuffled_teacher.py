"""Distillation from the teacher's answers to other pixels: a control for what the teacher knows of this one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor

from segmi.losses.base import Invariance, Outputs, Term
from segmi.losses.distillation.distillation import distillation_term
from segmi.losses.distillation.taught import Taught, valid_pixels
from segmi.losses.feature_grid import shuffled_cells
from segmi.losses.options import check_choice
from segmi.losses.targets import read_targets
from segmi.types import IGNORE_INDEX, Batch, Labels, Logits, Output

Keep = Literal["class", "nothing"]


def shuffled_teacher(
    logits: Logits,
    teacher: Logits,
    labels: Labels,
    *,
    keep: Keep = "class",
    seed: int = 0,
    temperature: float = 1.0,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """How far a network is from what its teacher predicts at another pixel of the same image.

    ``L = T² 1/|V| Σ_{u∈V} KL(t_π(u) ‖ q_u)``, π a permutation of the valid pixels of an image

    What a teacher's predictions tell of a pixel is a sum, ``I(U; Ŷ) = I(Y; Ŷ) + I(U; Ŷ | Y)``: which class it has, and
    the rest. With ``keep="class"``, π moves pixels within their true class: the first addend stays as it is (which
    classes resemble each other, how sure one should be of each), the second is gone. With ``"nothing"`` both are.

    Args:
        logits: of the network that learns.
        teacher: of the one that teaches; no gradient reaches it.
        labels: which pixels are ignored and, for ``keep="class"``, which belong together.
        keep: what stays of the teacher.
        seed: of the order, which the labels of an image decide along with it: a crop is always shuffled alike.
        temperature: T, above 0.
        ignore_index: the label of ignored pixels.

    Shapes:
        logits, teacher: N×C×H×W; labels: N×H×W; the result is a scalar.

    Unit and sign: nats per pixel, at least 0, minimized; 0, attached to the graph, where no pixel is valid.

    Raises:
        TypeError, ValueError: as `distillation`, and an unknown choice.

    Source: this library's, as a control for `distillation`.

    Example:
        >>> import torch
        >>> sure = torch.tensor([9.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
        >>> labels = torch.zeros(1, 4, 4, dtype=torch.long)
        >>> shuffled_teacher(sure, sure, labels)  # the same everywhere: nothing is lost
        tensor(0.)
    """
    return shuffled_teacher_term(
        logits, teacher, labels, keep=keep, seed=seed, temperature=temperature, ignore_index=ignore_index
    ).value


def shuffled_teacher_term(
    logits: Logits,
    teacher: Logits,
    labels: Labels,
    *,
    keep: Keep = "class",
    seed: int = 0,
    temperature: float = 1.0,
    ignore_index: int = IGNORE_INDEX,
) -> Term:
    """`shuffled_teacher` as the sum over the valid pixels and their number."""
    check_choice("keep", keep, get_args(Keep))
    targets = read_targets(logits, labels, ignore_index)
    order = shuffled_cells(targets.classes, targets.valid, within_class=keep == "class", seed=seed)
    moved = teacher.detach().flatten(2)
    moved = moved.gather(2, order[:, None].expand_as(moved)).view(teacher.shape)
    return distillation_term(logits, moved, labels, temperature=temperature, ignore_index=ignore_index)


class ShuffledTeacher(Taught):
    """`shuffled_teacher` of every network that learns from those that are frozen, on average over them.

    Assumes: nothing of the teacher.
    Invariances: those of `Distillation` per pixel, and a permutation of the teacher's pixels within a class.
    Degenerate solutions: the best answer is the teacher's average of the class: with ``keep="class"`` it smooths labels
        by the teacher's confusions, with ``"nothing"`` by the classes' shares of the image.
    Cost: that of `Distillation`, and two sorts of the pixels.

    Args:
        name: the name of the terms.
        weight: their factor in the sum that is minimized.
        keep: what stays of the teacher: the true ``class`` of the pixel, or ``nothing``.
        temperature: T, above 0.
        frozen: the networks that teach.
        ignore_index: the label of ignored pixels.

    Example:
        >>> import torch
        >>> outputs = {name: Output(torch.zeros(1, 2, 4, 4)) for name in ("a", "t")}
        >>> batch = Batch(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8))
        >>> list(ShuffledTeacher(frozen=["t"])(outputs, batch))
        ['shuffled_teacher/a']
    """

    family = "distillation"
    requires = ("teacher",)
    invariances: tuple[Invariance, ...] = ("logit shift", "prediction permutation")

    def __init__(
        self,
        *,
        name: str = "shuffled_teacher",
        weight: float = 1.0,
        keep: Keep = "class",
        temperature: float = 1.0,
        frozen: Sequence[str] = (),
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__(name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        check_choice("keep", keep, get_args(Keep))
        if not temperature > 0:
            raise ValueError(f"temperature: expected a number above 0, got {temperature!r}; 1 leaves the logits alone")
        self.keep: Keep = keep
        self.temperature = temperature
        self.seed = 0

    def prepare(self, outputs: Outputs, seed: int) -> None:
        """Take the seed."""
        self.seed = seed

    def taught(self, student: str, learned: Output, teacher: str, taught: Output, batch: Batch) -> dict[str, Term]:
        """The divergence from one teacher."""
        return {
            "": shuffled_teacher_term(
                learned.logits, taught.logits, batch.labels, keep=self.keep, seed=self.seed,
                temperature=self.temperature, ignore_index=self.ignore_index,
            )
        }  # fmt: skip

    def counted(self, student: Output, teacher: Output, batch: Batch) -> dict[str, Tensor]:
        """The valid pixels."""
        return {"": valid_pixels(student, batch, self.ignore_index)}
