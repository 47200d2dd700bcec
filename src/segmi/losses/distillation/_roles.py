"""The common parts of losses between networks: learning from all peers, and learning from frozen teachers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from segmi.losses.base import Invariance, Objective, Outputs, Term
from segmi.losses.option_checks import check_positive
from segmi.losses.targets import upcast
from segmi.types import Batch, Labels, Logits, Output


class _NetworkObjective(Objective):
    """Options of all losses between networks; abstract."""

    family = "distillation"
    invariances: tuple[Invariance, ...] = (
        "logit shift", "prediction permutation", "class permutation", "pixel permutation",
    )  # fmt: skip

    def __init__(self, *, name: str, weight: float, frozen: Sequence[str], ignore_index: int) -> None:
        super().__init__()
        self.name, self.weight = name, float(weight)
        self.frozen, self.ignore_index = tuple(frozen), ignore_index

    def _valid_pixels(self, batch: Batch, logits: Logits) -> Tensor:
        return (batch.labels != self.ignore_index).sum().to(upcast(logits).dtype)


class PeerObjective(_NetworkObjective):
    """A loss of every trained network relative to all other networks: one term ``name/network`` each; abstract.

    Args:
        name: name of the terms.
        weight: factor in the sum that is minimized.
        frozen: networks that are imitated but not trained.
        ignore_index: label of ignored pixels.
    """

    requires = ("peers",)

    @abstractmethod
    def peer_term(self, own: Logits, others: Sequence[Logits], labels: Labels) -> Term:
        """Return the term of one network, given the logits of all others."""

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """Return one term per trained network."""
        terms = {}
        for network in self._trained(outputs):
            others = [output.logits for other, output in outputs.items() if other != network]
            term = self.peer_term(outputs[network].logits, others, batch.labels)
            terms[f"{self.name}/{network}"] = term._replace(weight=self.weight)
        return terms

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the number of valid pixels for every term."""
        return {
            f"{self.name}/{network}": self._valid_pixels(batch, outputs[network].logits)
            for network in self._trained(outputs)
        }

    def _trained(self, outputs: Outputs) -> list[str]:
        trained = [network for network in outputs if network not in self.frozen]
        if len(outputs) < 2 or not trained:
            raise ValueError(
                f"{self.name}: expected two or more networks, one of them not frozen, got {list(outputs)} with "
                f"{list(self.frozen)} frozen. Fix: add a network"
            )
        return trained


class TeacherObjective(_NetworkObjective):
    """A loss of every trained network relative to every frozen one, averaged over these teachers; abstract.

    The terms are called ``name/network``, or ``name.part/network`` for a loss of several parts.

    Args:
        name: name of the terms.
        weight: factor in the sum that is minimized.
        frozen: the teachers.
        ignore_index: label of ignored pixels.
    """

    requires = ("teacher",)

    @abstractmethod
    def teacher_terms(
        self, student: str, student_output: Output, teacher: str, teacher_output: Output, batch: Batch
    ) -> Mapping[str, Term]:
        """Return the parts of the loss of one network relative to one teacher; a single part has the empty name."""

    def teacher_denominators(
        self, student_output: Output, teacher_output: Output, batch: Batch
    ) -> Mapping[str, Tensor]:
        """Return the denominators of the parts from labels, shapes and dtypes; default: the number of valid pixels."""
        return {"": self._valid_pixels(batch, student_output.logits)}

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms of all trained networks."""
        terms = {}
        for student, teachers in self._pairs(outputs).items():
            parts = [self.teacher_terms(student, outputs[student], one, outputs[one], batch) for one in teachers]
            for part, term in parts[0].items():
                mean = torch.stack([other[part].numerator for other in parts]).mean()
                terms[self._name(part, student)] = term._replace(numerator=mean, weight=self.weight * term.weight)
        return terms

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the denominators of all terms."""
        return {
            self._name(part, student): count
            for student, teachers in self._pairs(outputs).items()
            for part, count in self.teacher_denominators(outputs[student], outputs[teachers[0]], batch).items()
        }

    def _pairs(self, outputs: Outputs) -> dict[str, list[str]]:
        """Return the teachers of every trained network."""
        teachers = [network for network in outputs if network in self.frozen]
        students = [network for network in outputs if network not in self.frozen]
        if not teachers or not students:
            raise ValueError(
                f"{self.name}: expected a frozen network, the teacher, and a trained one, got {list(outputs)} with "
                f"{list(self.frozen)} frozen. Fix: name the teacher under frozen"
            )
        return dict.fromkeys(students, teachers)

    def _name(self, part: str, network: str) -> str:
        return f"{self.name}.{part}/{network}" if part else f"{self.name}/{network}"


class LogitTeacherObjective(TeacherObjective):
    """A loss with one term that compares logits softened by a temperature; abstract.

    Args:
        name, weight, frozen, ignore_index: see `TeacherObjective`.
        temperature: T, above 0.
    """

    def __init__(
        self, *, name: str, weight: float, temperature: float, frozen: Sequence[str], ignore_index: int
    ) -> None:
        super().__init__(name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        check_positive(temperature=temperature)
        self.temperature = temperature

    @abstractmethod
    def logit_term(self, logits: Logits, teacher: Logits, labels: Labels) -> Term:
        """Return the term of the logits of one network relative to one teacher."""

    def teacher_terms(
        self, student: str, student_output: Output, teacher: str, teacher_output: Output, batch: Batch
    ) -> dict[str, Term]:
        """Return the only term."""
        return {"": self.logit_term(student_output.logits, teacher_output.logits, batch.labels)}


class FeatureTeacherObjective(TeacherObjective):
    """A loss on one layer of each network; networks without a layer take no part; abstract.

    Args:
        layers: one layer of a trained network and one of a teacher, by network.
        name, weight, frozen, ignore_index: see `TeacherObjective`.
    """

    requires = ("teacher", "features")

    def __init__(
        self, *, layers: Mapping[str, str], name: str, weight: float, frozen: Sequence[str], ignore_index: int
    ) -> None:
        super().__init__(name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        self.layer_of = dict(layers)

    def layers(self) -> dict[str, list[str]]:
        """Return the layer of each network."""
        return {network: [layer] for network, layer in self.layer_of.items()}

    def _pairs(self, outputs: Outputs) -> dict[str, list[str]]:
        return super()._pairs({network: output for network, output in outputs.items() if network in self.layer_of})

    def _layer(self, *, frozen: bool) -> str:
        """Return the layer of the first network that is frozen, or is not."""
        return next(layer for network, layer in self.layer_of.items() if (network in self.frozen) is frozen)
