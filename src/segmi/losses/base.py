"""The two contracts of this room: losses that anyone can use, and losses that training sees.

A *loss* is ``loss(logits, labels) → scalar``. A *loss* is ``objective(outputs, batch) → {term: Term}``: every
term keeps its numerator and its denominator apart, so that accumulated batches and parallel processes can divide by the
global count. `PerNetwork` makes a loss of a loss. A term may carry *diagnostics*: what else is known of the batch
once the term is computed, shown in the logs and never minimized.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn

from segmi.types import IGNORE_INDEX, Batch, Labels, Logits, Output

Outputs = Mapping[str, Output]
"""What a cohort returns: an `Output` for every network, frozen ones included, by the network's name."""


Scope: TypeAlias = Literal["image", "batch", "global"]
"""Over what the numerator of a term adds up: see `Objective.scope`."""

Family: TypeAlias = Literal[
    "pixel-wise", "region", "dependence", "prediction", "peers", "representation", "control", "other"
]
"""What a loss is about, as `segmi list losses` sorts them."""

Requirement: TypeAlias = Literal["peers", "teacher", "features", "class counts", "unlabeled images", "two views"]
"""What a loss asks for beside logits and labels."""

Rows: TypeAlias = Literal["labeled", "unlabeled", "all"]
"""The images of a batch that a loss is computed from: see `Loss.applies_to`."""

Invariance: TypeAlias = Literal["logit offset", "predicted names", "class names", "pixel order"]
"""What does not change the value: a constant added to all logits of a pixel; other names for the predicted classes
alone; other names for the classes in labels and predictions alike; the pixels of all images in another order."""


class Diagnostic(NamedTuple):
    """A number, or one per class, that is shown while a network trains: a ratio whose parts may be summed over batches.

    Args:
        numerator: () or (C,), without gradient.
        denominator: of the same shape: how much was averaged over. Where the sum over all batches is 0, there is
            nothing to show.
    """

    numerator: Tensor
    denominator: Tensor


class Term(NamedTuple):
    """One addend of a loss, as a ratio whose two parts may be summed over batches before dividing.

    Args:
        numerator: scalar, attached to the graph of the logits even where nothing counts (it is then 0).
        denominator: scalar without gradient: how much was averaged over (valid pixels, images, pairs). It depends on
            the labels alone.
        weight: the factor of this term in the sum that is minimized.
        denominator_offset: added to the denominator after summing, once however many batches were summed.
        diagnostics: what is shown along with it, by name.
    """

    numerator: Tensor
    denominator: Tensor
    weight: float = 1.0
    denominator_offset: float = 0.0
    diagnostics: Mapping[str, Diagnostic] = MappingProxyType({})

    @property
    def value(self) -> Tensor:
        """Numerator over denominator, unweighted; 0, attached to the graph, where the denominator is 0."""
        return self.numerator / (self.denominator + self.denominator_offset).clamp(min=1e-12)


class Loss(nn.Module, ABC):
    """A loss on the logits of one network: ``loss(logits, labels) → scalar``, to be minimized.

    A subclass stores and checks its options and implements `term` by one call of its pure function. One that adds up
    ratios with different denominators also overrides `terms`. One that couples the images of a batch says so by its
    ``scope``, see `Objective.scope`.
    """

    family: Family = "other"
    requires: tuple[Requirement, ...] = ()
    invariances: tuple[Invariance, ...] = ()
    scope: Scope = "image"
    stateful: bool = False
    """Whether it carries something on from batch to batch, so that every network needs one of its own."""

    applies_to: Rows = "labeled"
    """Of which images it is computed in training. Those without labels come to it with class 0 wherever there is a
    image, so only a loss that does not look at the classes can have them."""

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
    """What a cohort is trained on: ``objective(outputs, batch) → {term: Term}``, the weighted sum is minimized."""

    family: Family = "other"
    """What it is about."""

    requires: tuple[Requirement, ...] = ()
    """What it asks for beside logits and labels: ``peers`` are two or more networks, a ``teacher`` is a frozen one."""

    invariances: tuple[Invariance, ...] = ()
    """What does not change its value."""

    scope: Scope = "image"
    """``image``: numerators are sums over images, so that batches may be divided at will. ``batch``: the images
    of a batch are coupled, so a batch must not be divided, neither over processes nor accumulated. ``global``: they are
    coupled, and the loss gathers what it needs over the processes of `torch.distributed`; only accumulation is
    refused."""

    transforms_features: bool = False
    """Whether `edit` changes what networks go on with in training."""

    @abstractmethod
    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """The terms by name; a term of one network is called ``term/network``."""

    def layers(self) -> Mapping[str, Sequence[str]]:
        """The layers, by network, whose outputs it wants as features: dotted names inside that network's network."""
        return {}

    def prepare(self, outputs: Outputs, seed: int) -> None:
        """Make the parts whose sizes depend on the networks, such as projection heads; called once before training.

        They are optimized and checkpointed with the networks, and exported with none of them. The same outputs and seed
        make the same parts.

        Args:
            outputs: of an image that only tells shapes.
            seed: keys initial weights and whatever the loss draws.
        """

    def transform_features(self, network: str, layer: str, output: Tensor) -> Tensor:
        """What a network goes on with in training after one of `layers`; draws come from PyTorch's generators."""
        return output

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """The denominators alone, for the global count over accumulated batches, from labels and shapes only."""
        return {name: term.denominator for name, term in self(outputs, batch).items()}


@runtime_checkable
class UsesClassCounts(Protocol):
    """A part of a loss that must know how often the classes are in the images that train."""

    def take_class_counts(self, counts: Tensor) -> None:
        """Be told the number of pixels per class, C integers, before training; what the user has said stands."""
        ...


@runtime_checkable
class HasKernel(Protocol):
    """A part of a loss that several routines can compute, which differ in rounding."""

    def settle_kernel(self, logits: Logits, kernel: str | None = None) -> str:
        """Take one routine from now on, and say which.

        Args:
            logits: as it will be called with; shape and values do not count.
            kernel: the routine to be taken unless one was asked for by name; None leaves the choice here.

        Raises:
            ValueError: ``kernel`` cannot be had for such logits, with the reason.
        """
        ...


class PerNetwork(Objective):
    """A loss as a loss: one term for each network that is trained.

    Args:
        loss: a `Loss` of segmi, or any callable ``loss(logits, labels) → scalar``, which then counts by images.
        name: the name of the term; ``name/network`` in the result.
        weight: the factor of this loss in the sum.
        frozen: the networks that are not trained; they get no term.
        networks: those that are, of whom each gets a copy of a loss that stateful; one that is alone need not be named.
    """

    def __init__(
        self,
        loss: nn.Module,
        name: str,
        *,
        weight: float = 1.0,
        frozen: tuple[str, ...] = (),
        networks: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.loss = loss
        copies = {network: deepcopy(loss) for network in networks} if getattr(loss, "stateful", False) else {}
        self.copies = nn.ModuleDict({_as_attribute(network): copy for network, copy in copies.items()})
        self.name: Final = name
        self.weight: Final = weight
        self.frozen: Final = frozen
        self.scope = getattr(loss, "scope", "image")
        self.family, self.requires = getattr(loss, "family", "other"), getattr(loss, "requires", ())
        self.invariances = getattr(loss, "invariances", ())

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """One term ``name/network`` per trained network, ``name.part/network`` for a loss of several parts.

        A diagnostic of the loss becomes ``diagnostic/name/network``.
        """
        return {
            self._name(part, network): term._replace(
                weight=self.weight * term.weight,
                diagnostics={f"{shown}/{self.name}/{network}": ratio for shown, ratio in term.diagnostics.items()},
            )
            for network, output in self._trained(outputs)
            for part, term in self._terms(network, *self._rows(output.logits, batch)).items()
        }

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """The denominators alone, without computing the loss where it is one of segmi."""
        if not isinstance(self.loss, Loss):
            return super().denominators(outputs, batch)
        return {
            self._name(part, network): denominator
            for network, output in self._trained(outputs)
            for part, denominator in self.loss.denominators(*self._rows(output.logits, batch)).items()
        }

    def _rows(self, logits: Logits, batch: Batch) -> tuple[Logits, Labels]:
        """Logits and labels of the images that the loss is computed from."""
        applies_to: Rows = getattr(self.loss, "applies_to", "labeled")
        if batch.views is None:
            if applies_to != "labeled":
                raise ValueError(
                    f"{self.name}: expected images without labels in the batch, got none; set applies_to: labeled"
                )
            return logits, batch.labels
        first, seen = batch.labeled, batch.views.seen
        ignored = getattr(self.loss, "ignore_index", IGNORE_INDEX)
        without = batch.labels[first : first + len(seen)].masked_fill(seen, 0).masked_fill(~seen, ignored)
        match applies_to:
            case "labeled":
                return logits[:first], batch.labels[:first]
            case "unlabeled":
                return logits[first : first + len(seen)], without
            case _:
                return logits[: first + len(seen)], torch.cat([batch.labels[:first], without])

    def _trained(self, outputs: Outputs) -> list[tuple[str, Output]]:
        found = [(network, output) for network, output in outputs.items() if network not in self.frozen]
        if len(found) > 1 and not self.copies and getattr(self.loss, "stateful", False):
            raise ValueError(
                f"{self.name} stateful, and is computed for {', '.join(network for network, _ in found)}: expected one "
                "for each; name them with networks="
            )
        return found

    def _name(self, part: str, network: str) -> str:
        return f"{self.name}.{part}/{network}" if part else f"{self.name}/{network}"

    def _terms(self, network: str, logits: Logits, labels: Labels) -> dict[str, Term]:
        if isinstance(self.loss, Loss):
            loss: Any = self.copies[_as_attribute(network)] if self.copies else self.loss
            found: dict[str, Term] = loss.terms(logits, labels)
            return found
        count = logits.new_full((), len(labels))  # not `new_tensor`, which a GPU is waited for to fill
        return {"": Term(self.loss(logits, labels) * count, count)}


def _as_attribute(network: str) -> str:
    """A name that `torch.nn` accepts, which a dot in a network's name would not be."""
    return network.replace(".", "·")
