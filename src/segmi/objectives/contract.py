"""The two contracts of this room: losses that anyone can use, and objectives that training sees.

A *loss* is ``loss(logits, labels) → scalar``. An *objective* is ``objective(outputs, batch) → {term: Term}``: every
term keeps its numerator and its denominator apart, so that accumulated batches and parallel processes can divide by the
global count. `PerMember` makes an objective of a loss. A term may carry *readouts*: what else is known of the batch
once the term is computed, shown in the logs and never minimised.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn

from segmi.arrays import VOID, Batch, Labels, Logits, Output

Outputs = Mapping[str, Output]
"""What a cohort returns: an `Output` for every member, frozen ones included, by the member's name."""


Scope: TypeAlias = Literal["picture", "batch", "global"]
"""Over what the numerator of a term adds up: see `Objective.scope`."""

Family: TypeAlias = Literal[
    "pixel-wise", "region", "dependence", "prediction", "peers", "representation", "control", "other"
]
"""What an objective is about, as `segmi list objectives` sorts them."""

Need: TypeAlias = Literal["peers", "teacher", "features", "class counts", "unlabelled pictures", "two views"]
"""What an objective asks for beside logits and labels."""

Rows: TypeAlias = Literal["labelled", "unlabelled", "all"]
"""The pictures of a batch that a loss is computed from: see `Loss.on`."""

Invariance: TypeAlias = Literal["logit offset", "predicted names", "class names", "pixel order"]
"""What does not change the value: a constant added to all logits of a pixel; other names for the predicted classes
alone; other names for the classes in labels and predictions alike; the pixels of all pictures in another order."""


class Readout(NamedTuple):
    """A number, or one per class, that is shown while a network trains: a ratio whose parts may be summed over batches.

    Args:
        numerator: () or (C,), without gradient.
        denominator: of the same shape: how much was averaged over. Where the sum over all batches is 0, there is
            nothing to show.
    """

    numerator: Tensor
    denominator: Tensor


class Term(NamedTuple):
    """One addend of an objective, as a ratio whose two parts may be summed over batches before dividing.

    Args:
        numerator: scalar, attached to the graph of the logits even where nothing counts (it is then 0).
        denominator: scalar without gradient: how much was averaged over (valid pixels, images, pairs). It depends on
            the labels alone.
        weight: the factor of this term in the sum that is minimised.
        once: added to the denominator after summing, once however many batches were summed.
        readouts: what is shown along with it, by name.
    """

    numerator: Tensor
    denominator: Tensor
    weight: float = 1.0
    once: float = 0.0
    readouts: Mapping[str, Readout] = MappingProxyType({})

    @property
    def value(self) -> Tensor:
        """Numerator over denominator, unweighted; 0, attached to the graph, where the denominator is 0."""
        return self.numerator / (self.denominator + self.once).clamp(min=1e-12)


class Loss(nn.Module, ABC):
    """A loss on the logits of one network: ``loss(logits, labels) → scalar``, to be minimised.

    A subclass stores and checks its knobs and implements `term` by one call of its pure function. One that adds up
    ratios with different denominators also overrides `terms`. One that couples the pictures of a batch says so by its
    ``scope``, see `Objective.scope`.
    """

    family: Family = "other"
    needs: tuple[Need, ...] = ()
    invariances: tuple[Invariance, ...] = ()
    scope: Scope = "picture"
    remembers: bool = False
    """Whether it carries something on from batch to batch, so that every member needs one of its own."""

    on: Rows = "labelled"
    """Of which pictures it is computed in training. Those without labels come to it with class 0 wherever there is a
    picture, so only a loss that does not look at the classes can have them."""

    @abstractmethod
    def term(self, logits: Logits, labels: Labels) -> Term:
        """The loss as numerator over denominator."""

    def terms(self, logits: Logits, labels: Labels) -> dict[str, Term]:
        """The addends of the loss by name; the name is empty where there is only one."""
        return {"": self.term(logits, labels)}

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The denominators of `terms`; of the logits only shape, type and device count."""
        return {part: term.denominator for part, term in self.terms(logits, labels).items()}

    def forward(self, logits: Logits, labels: Labels) -> Tensor:
        """The scalar loss of N×C×H×W logits against N×H×W integer labels."""
        terms = list(self.terms(logits, labels).values())
        return sum((term.weight * term.value for term in terms[1:]), start=terms[0].weight * terms[0].value)


class Objective(nn.Module, ABC):
    """What a cohort is trained on: ``objective(outputs, batch) → {term: Term}``, the weighted sum is minimised."""

    family: Family = "other"
    """What it is about."""

    needs: tuple[Need, ...] = ()
    """What it asks for beside logits and labels: ``peers`` are two or more members, a ``teacher`` is a frozen one."""

    invariances: tuple[Invariance, ...] = ()
    """What does not change its value."""

    scope: Scope = "picture"
    """``picture``: numerators are sums over pictures, so that batches may be divided at will. ``batch``: the pictures
    of a batch are coupled, so a batch must not be divided, neither over processes nor accumulated. ``global``: they are
    coupled, and the objective gathers what it needs over the processes of `torch.distributed`; only accumulation is
    refused."""

    edits: bool = False
    """Whether `edit` changes what members go on with in training."""

    @abstractmethod
    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """The terms by name; a term of one member is called ``term/member``."""

    def layers(self) -> Mapping[str, Sequence[str]]:
        """The layers, by member, whose outputs it wants as features: dotted names inside that member's network."""
        return {}

    def prepare(self, outputs: Outputs, seed: int) -> None:
        """Make the parts whose sizes depend on the networks, such as projection heads; called once before training.

        They are optimised and checkpointed with the networks, and exported with none of them. The same outputs and seed
        make the same parts.

        Args:
            outputs: of a picture that only tells shapes.
            seed: keys initial weights and whatever the objective draws.
        """

    def edit(self, member: str, layer: str, output: Tensor) -> Tensor:
        """What a member goes on with in training after one of `layers`; draws come from PyTorch's generators."""
        return output

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """The denominators alone, for the global count over accumulated batches, from labels and shapes only."""
        return {name: term.denominator for name, term in self(outputs, batch).items()}


@runtime_checkable
class TakesClassCounts(Protocol):
    """A part of an objective that must know how often the classes are in the pictures that train."""

    def take_class_counts(self, counts: Tensor) -> None:
        """Be told the number of pixels per class, C integers, before training; what the user has said stands."""
        ...


@runtime_checkable
class HasKernel(Protocol):
    """A part of an objective that several routines can compute, which differ in rounding."""

    def settle_kernel(self, logits: Logits, kernel: str | None = None) -> str:
        """Take one routine from now on, and say which.

        Args:
            logits: as it will be called with; shape and values do not count.
            kernel: the routine to be taken unless one was asked for by name; None leaves the choice here.

        Raises:
            ValueError: ``kernel`` cannot be had for such logits, with the reason.
        """
        ...


class PerMember(Objective):
    """A loss as an objective: one term for each member that is trained.

    Args:
        loss: a `Loss` of segmi, or any callable ``loss(logits, labels) → scalar``, which then counts by pictures.
        name: the name of the term; ``name/member`` in the result.
        weight: the factor of this loss in the sum.
        frozen: the members that are not trained; they get no term.
        members: those that are, of whom each gets a copy of a loss that remembers; one that is alone need not be named.
    """

    def __init__(
        self,
        loss: nn.Module,
        name: str,
        *,
        weight: float = 1.0,
        frozen: tuple[str, ...] = (),
        members: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.loss = loss
        copies = {member: deepcopy(loss) for member in members} if getattr(loss, "remembers", False) else {}
        self.copies = nn.ModuleDict({_as_attribute(member): copy for member, copy in copies.items()})
        self.name: Final = name
        self.weight: Final = weight
        self.frozen: Final = frozen
        self.scope = getattr(loss, "scope", "picture")
        self.family, self.needs = getattr(loss, "family", "other"), getattr(loss, "needs", ())
        self.invariances = getattr(loss, "invariances", ())

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """One term ``name/member`` per trained member, ``name.part/member`` for a loss of several parts.

        A readout of the loss becomes ``readout/name/member``.
        """
        return {
            self._name(part, member): term._replace(
                weight=self.weight * term.weight,
                readouts={f"{shown}/{self.name}/{member}": ratio for shown, ratio in term.readouts.items()},
            )
            for member, output in self._trained(outputs)
            for part, term in self._terms(member, *self._rows(output.logits, batch)).items()
        }

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """The denominators alone, without computing the loss where it is one of segmi."""
        if not isinstance(self.loss, Loss):
            return super().denominators(outputs, batch)
        return {
            self._name(part, member): denominator
            for member, output in self._trained(outputs)
            for part, denominator in self.loss.denominators(*self._rows(output.logits, batch)).items()
        }

    def _rows(self, logits: Logits, batch: Batch) -> tuple[Logits, Labels]:
        """Logits and labels of the pictures that the loss is computed from."""
        on: Rows = getattr(self.loss, "on", "labelled")
        if batch.views is None:
            if on != "labelled":
                raise ValueError(
                    f"{self.name}: expected pictures without labels in the batch, got none; set on: labelled"
                )
            return logits, batch.labels
        first, seen = batch.labelled, batch.views.seen
        void = getattr(self.loss, "ignore_index", VOID)
        without = batch.labels[first : first + len(seen)].masked_fill(seen, 0).masked_fill(~seen, void)
        match on:
            case "labelled":
                return logits[:first], batch.labels[:first]
            case "unlabelled":
                return logits[first : first + len(seen)], without
            case _:
                return logits[: first + len(seen)], torch.cat([batch.labels[:first], without])

    def _trained(self, outputs: Outputs) -> list[tuple[str, Output]]:
        found = [(member, output) for member, output in outputs.items() if member not in self.frozen]
        if len(found) > 1 and not self.copies and getattr(self.loss, "remembers", False):
            raise ValueError(
                f"{self.name} remembers, and is computed for {', '.join(member for member, _ in found)}: expected one "
                "for each; name them with members="
            )
        return found

    def _name(self, part: str, member: str) -> str:
        return f"{self.name}.{part}/{member}" if part else f"{self.name}/{member}"

    def _terms(self, member: str, logits: Logits, labels: Labels) -> dict[str, Term]:
        if isinstance(self.loss, Loss):
            loss: Any = self.copies[_as_attribute(member)] if self.copies else self.loss
            found: dict[str, Term] = loss.terms(logits, labels)
            return found
        count = logits.new_full((), len(labels))  # not `new_tensor`, which a GPU is waited for to fill
        return {"": Term(self.loss(logits, labels) * count, count)}


def _as_attribute(member: str) -> str:
    """A name that `torch.nn` accepts, which a dot in a member's name would not be."""
    return member.replace(".", "·")
