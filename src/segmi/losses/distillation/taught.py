"""What losses with a teacher have in common: who learns, who teaches, and what is counted."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from segmi.losses.base import Objective, Outputs, Term
from segmi.losses.targets import upcast
from segmi.types import IGNORE_INDEX, Batch, Output


class Taught(Objective):
    """A loss of every network that learns, from every frozen one: the mean over its teachers.

    Its terms are called ``name/network``, ``name.part/network`` where it has several parts.

    Args:
        name: the name of the terms.
        weight: their factor in the sum that is minimized.
        frozen: the networks that teach and do not learn.
        ignore_index: the label of ignored pixels.
    """

    def __init__(self, *, name: str, weight: float, frozen: Sequence[str], ignore_index: int) -> None:
        super().__init__()
        self.name, self.weight = name, float(weight)
        self.frozen, self.ignore_index = tuple(frozen), ignore_index

    @abstractmethod
    def taught(self, student: str, learned: Output, teacher: str, taught: Output, batch: Batch) -> Mapping[str, Term]:
        """The parts of what one network has to learn from one other; the name of the only part is empty."""

    @abstractmethod
    def counted(self, student: Output, teacher: Output, batch: Batch) -> Mapping[str, Tensor]:
        """The denominators of the parts; of the outputs only shapes and types count."""

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """The terms of all networks that learn."""
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
        teachers = [network for network in outputs if network in self.frozen]
        students = [network for network in outputs if network not in self.frozen]
        if not teachers or not students:
            raise ValueError(
                f"{self.name}: expected a network that is frozen and teaches, and one that learns, got "
                f"{list(outputs)} with {list(self.frozen)} frozen; name the teacher under frozen"
            )
        return dict.fromkeys(students, teachers)

    def _name(self, part: str, network: str) -> str:
        return f"{self.name}.{part}/{network}" if part else f"{self.name}/{network}"


def valid_pixels(student: Output, batch: Batch, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """The number of pixels that are not ignored."""
    return (batch.labels != ignore_index).sum().to(upcast(student.logits).dtype)
