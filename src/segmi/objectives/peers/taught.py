"""What objectives with a teacher have in common: who learns, who teaches, and what is counted."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from segmi.arrays import VOID, Batch, Output
from segmi.objectives.contract import Objective, Outputs, Term
from segmi.objectives.targets import widened


class Taught(Objective):
    """An objective of every member that learns, from every frozen one: the mean over its teachers.

    Its terms are called ``name/member``, ``name.part/member`` where it has several parts.

    Args:
        name: the name of the terms.
        weight: their factor in the sum that is minimised.
        frozen: the members that teach and do not learn.
        ignore_index: the label of void pixels.
    """

    def __init__(self, *, name: str, weight: float, frozen: Sequence[str], ignore_index: int) -> None:
        super().__init__()
        self.name, self.weight = name, float(weight)
        self.frozen, self.ignore_index = tuple(frozen), ignore_index

    @abstractmethod
    def taught(self, student: str, learned: Output, teacher: str, taught: Output, batch: Batch) -> Mapping[str, Term]:
        """The parts of what one member has to learn from one other; the name of the only part is empty."""

    @abstractmethod
    def counted(self, student: Output, teacher: Output, batch: Batch) -> Mapping[str, Tensor]:
        """The denominators of the parts; of the outputs only shapes and types count."""

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """The terms of all members that learn."""
        found = {}
        for student, teachers in self._pairs(outputs).items():
            parts = [self.taught(student, outputs[student], one, outputs[one], batch) for one in teachers]
            for part, term in parts[0].items():
                total = torch.stack([other[part].numerator for other in parts]).mean()
                found[self._name(part, student)] = term._replace(numerator=total, weight=self.weight * term.weight)
        return found

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """The denominators of all terms."""
        return {
            self._name(part, student): count
            for student, teachers in self._pairs(outputs).items()
            for part, count in self.counted(outputs[student], outputs[teachers[0]], batch).items()
        }

    def _pairs(self, outputs: Outputs) -> dict[str, list[str]]:
        teachers = [member for member in outputs if member in self.frozen]
        students = [member for member in outputs if member not in self.frozen]
        if not teachers or not students:
            raise ValueError(
                f"{self.name}: expected a member that is frozen and teaches, and one that learns, got "
                f"{list(outputs)} with {list(self.frozen)} frozen; name the teacher under frozen"
            )
        return dict.fromkeys(students, teachers)

    def _name(self, part: str, member: str) -> str:
        return f"{self.name}.{part}/{member}" if part else f"{self.name}/{member}"


def valid_pixels(student: Output, batch: Batch, ignore_index: int = VOID) -> Tensor:
    """The number of pixels that are not void."""
    return (batch.labels != ignore_index).sum().to(widened(student.logits).dtype)
