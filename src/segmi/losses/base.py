"""The two contracts of this package, and the adapter between them.

A `Loss` is ``loss(logits, labels) → scalar``, for any training loop. An `Objective` is
``objective(outputs, batch) → {name: Term}``, for training several networks together. A `Term` keeps numerator and
denominator apart, so that gradient accumulation and data-parallel training divide by global counts. `PerNetwork` turns
a loss into an objective.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Literal, TypeAlias, cast

import torch
from torch import Tensor, nn

from segmi.losses.compiled import is_eager
from segmi.losses.first_batch import warn_of_first_batch
from segmi.losses.option_checks import CheckedOptions
from segmi.losses.probabilities import count_valid
from segmi.losses.ratio_terms import Diagnostic, Term
from segmi.losses.targets import ignore_value, plain
from segmi.types import IGNORE_INDEX, Batch, Labels, Logits, Output

__all__ = ["CallableLoss", "Diagnostic", "Loss", "Objective", "Outputs", "PerNetwork", "PixelLoss", "Term"]

Outputs = Mapping[str, Output]
"""The `Output` of every network of a cohort, frozen networks included, by the network's name."""

Scope: TypeAlias = Literal["image", "batch", "global"]
"""How far a loss couples images. ``image``: the numerator is a sum over images, so a batch may be divided. ``batch``:
the images of a batch are coupled, so it must not be divided, neither over processes nor by accumulation. ``global``:
they are coupled, and the loss gathers its statistics over the processes of `torch.distributed`, so only accumulation
is refused."""

Family: TypeAlias = Literal[
    "rmi", "pixel", "label_information", "distillation", "unsupervised", "representation", "other"
]
"""The folder of a loss; `segmi list losses` groups by it."""

Requirement: TypeAlias = Literal["peers", "teacher", "features", "class counts", "unlabeled images", "two views"]
"""An input besides logits and labels. ``peers``: two or more networks. ``teacher``: a frozen network."""

ImageSubset: TypeAlias = Literal["labeled", "unlabeled", "all"]
"""The images of a batch that a loss is computed on."""

Invariance: TypeAlias = Literal["logit shift", "prediction permutation", "class permutation", "pixel permutation"]
"""A change without effect on the value: adding a constant to all logits of a pixel; permuting the predicted classes
only; permuting the classes of labels and predictions together; permuting the pixels of all images."""


class Loss(CheckedOptions, nn.Module, ABC):
    """A loss on the logits of one network: ``loss(logits, labels) → scalar``, to be minimized.

    A subclass stores its options, declares the fields below and implements `term`, or `terms` for a sum of ratios.
    """

    family: Family = "other"
    requires: tuple[Requirement, ...] = ()
    invariances: tuple[Invariance, ...] = ()
    scope: Scope = "image"
    ignore_index: int | None = IGNORE_INDEX
    _has_seen_a_batch = False
    stateful: bool = False
    """Whether it keeps state between batches, so that every network needs its own copy."""

    compiled_module: str = ""
    """The module with the routine ``numba`` of `select_kernel`, see `segmi.losses.compiled.kernel_cache`."""

    applies_to: ImageSubset = "labeled"
    """The images that it is computed on in training. Unlabeled images have class 0 at all their pixels, so the loss
    must not use the classes."""

    @abstractmethod
    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return the loss as numerator and denominator."""

    def terms(self, logits: Logits, labels: Labels) -> dict[str, Term]:
        """Return the terms of the loss by name; a single term has the empty name."""
        return {"": self.term(logits, labels)}

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """Return the denominators of `terms`; the values of the logits do not matter."""
        return {part: term.denominator for part, term in self.terms(logits, labels).items()}

    def select_kernel(self, logits: Logits, kernel: str | None = None) -> str | None:
        """Fix one of several implementations, which round differently, and return its name.

        Args:
            logits: only dtype and device matter.
            kernel: the implementation to use, unless the user chose one; None selects the best available one.
        Returns: None, the default, for a loss with a single implementation.
        Raises: ValueError if ``kernel`` is not available for such logits.
        """
        return None

    def forward(self, logits: Logits, labels: Labels) -> Tensor:
        """Return the scalar loss of N×C×H×W logits and N×H×W integer labels.

        It warns once if the first logits are probabilities, or the first labels of a binary problem lack class 1.
        """
        logits, labels = plain(logits), plain(labels)
        if not self._has_seen_a_batch and is_eager(logits) and is_eager(labels):
            self._has_seen_a_batch = True
            warn_of_first_batch(logits, labels, self.ignore_index)
        # starts with the first term instead of 0, so that the sum is always a tensor
        first, *others = self.terms(logits, labels).values()
        return sum((term.weight * term.value for term in others), start=first.weight * first.value)


class PixelLoss(Loss):
    """Abstract base of losses whose denominator is the number of valid pixels (label not ``ignore_index``)."""

    def __init__(self, *, ignore_index: int | None = IGNORE_INDEX) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """Return the number of valid pixels."""
        return {"": count_valid(logits, labels, self.ignore_index)}


class CallableLoss(Loss):
    """Adapter for any callable ``loss(logits, labels) → scalar``, with a mean over the images of a batch."""

    def __init__(self, loss: Callable[[Logits, Labels], Tensor]) -> None:
        super().__init__()
        self.loss = loss

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return the loss times the number of images, and that number."""
        count = logits.new_full((), len(labels))  # `new_tensor` would copy to a GPU and wait for it
        return Term(self.loss(logits, labels) * count, count)

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """Return the number of images."""
        return {"": logits.new_full((), len(labels))}


class Objective(CheckedOptions, nn.Module, ABC):
    """A loss on the outputs of a cohort: ``objective(outputs, batch) → {name: Term}``, minimized as a weighted sum.

    Args:
        name: of the terms; default: the class name in snake case.
        weight: factor in the sum that is minimized.
        frozen: networks that are not trained.
        ignore_index: label of ignored pixels.
    """

    family: Family = "other"
    requires: tuple[Requirement, ...] = ()
    invariances: tuple[Invariance, ...] = ()
    scope: Scope = "image"
    transforms_features: bool = False
    """Whether `transform_features` replaces outputs of hooked layers during training."""

    def __init__(
        self,
        *,
        name: str = "",
        weight: float = 1.0,
        frozen: Sequence[str] = (),
        ignore_index: int | None = IGNORE_INDEX,
    ) -> None:
        super().__init__()
        self.name, self.weight = name or snake_case(type(self).__name__), float(weight)
        self.frozen, self.ignore_index = tuple(frozen), ignore_index

    @abstractmethod
    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms by name; a term of one network is called ``name/network``."""

    def layers(self) -> Mapping[str, Sequence[str]]:
        """Return the layers whose outputs are needed as features: dotted module names, by network."""
        return {}

    def prepare(self, outputs: Outputs, seed: int) -> None:
        """Create modules whose sizes depend on the networks, such as projection heads. Called once before training.

        They are optimized and checkpointed with the networks, and not exported. The same shapes of ``outputs``, which
        are of one image, and the same ``seed`` give the same modules and the same random choices later.
        """

    def transform_features(self, network: str, layer: str, output: Tensor) -> Tensor:
        """Return the replacement of a hooked layer's output in training; random numbers are drawn from PyTorch."""
        return output

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the denominators of all terms, for global counts; they depend on labels and shapes only."""
        return {name: term.denominator for name, term in self(outputs, batch).items()}


class PerNetwork(Objective):
    """Adapter that applies a loss to every trained network: one term ``name/network`` each.

    Args:
        loss: a `Loss`, or any callable ``loss(logits, labels) → scalar``, see `CallableLoss`.
        name, weight, frozen: see `Objective`; frozen networks get no term.
        networks: the trained networks. A stateful loss is copied for each; a single network need not be named.
    """

    def __init__(
        self, loss: Loss | Callable[[Logits, Labels], Tensor], name: str, *, weight: float = 1.0,
        frozen: tuple[str, ...] = (), networks: Sequence[str] = ()
    ) -> None:  # fmt: skip
        own = loss if isinstance(loss, Loss) else CallableLoss(loss)
        super().__init__(name=name, weight=weight, frozen=frozen, ignore_index=own.ignore_index)
        self.loss: Loss = own
        copied = networks if self.loss.stateful else ()
        # copies, not one shared module: their state must not mix the networks
        self.copies = nn.ModuleDict({module_name(network): deepcopy(self.loss) for network in copied})
        self.scope, self.family = self.loss.scope, self.loss.family
        self.requires, self.invariances = self.loss.requires, self.loss.invariances

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms ``name/network``, or ``name.part/network``, with diagnostics ``diagnostic/name/network``."""
        return {
            term_name(self.name, part, network): term._replace(
                weight=self.weight * term.weight,
                diagnostics={f"{key}/{self.name}/{network}": ratio for key, ratio in term.diagnostics.items()},
            )
            for network, output in self._trained(outputs)
            for part, term in self._loss_of(network).terms(*self._subset(output.logits, batch)).items()
        }

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the denominators of the loss for every trained network."""
        return {
            term_name(self.name, part, network): denominator
            for network, output in self._trained(outputs)
            for part, denominator in self.loss.denominators(*self._subset(output.logits, batch)).items()
        }

    def _subset(self, logits: Logits, batch: Batch) -> tuple[Logits, Labels]:
        # logits and labels of the images that the loss applies to
        applies_to = self.loss.applies_to
        if batch.views is None:
            if applies_to != "labeled":
                raise ValueError(
                    f"{self.name}: expected unlabeled images in the batch, got none. Fix: set applies_to: labeled"
                )
            return logits, batch.labels
        first, seen = batch.labeled, batch.views.seen
        last = first + len(seen)
        # class 0 wherever an unlabeled image has a pixel, see `Loss.applies_to`
        unlabeled = (
            batch.labels[first:last]
            .long()
            .masked_fill(seen, 0)
            .masked_fill(~seen, ignore_value(self.loss.ignore_index))
        )
        match applies_to:
            case "labeled":
                return logits[:first], batch.labels[:first]
            case "unlabeled":
                return logits[first:last], unlabeled
            case _:
                return logits[:last], torch.cat([batch.labels[:first], unlabeled])

    def _trained(self, outputs: Outputs) -> list[tuple[str, Output]]:
        trained = [(network, output) for network, output in outputs.items() if network not in self.frozen]
        if len(trained) > 1 and self.loss.stateful and not self.copies:
            raise ValueError(
                f"{self.name} is stateful: expected one copy for each of {', '.join(network for network, _ in trained)}"
                ", got one for all. Fix: name the networks with networks="
            )
        return trained

    def _loss_of(self, network: str) -> Loss:
        return cast(Loss, self.copies[module_name(network)]) if self.copies else self.loss


def module_name(network: str) -> str:
    """Return a network's name as a valid name of a submodule, which must not contain a dot."""
    return network.replace(".", "·")


def term_name(loss: str, part: str, network: str) -> str:
    """Return the name of a term: ``loss.part/network``, or ``loss/network`` for a loss of one part."""
    return f"{loss}.{part}/{network}" if part else f"{loss}/{network}"


def snake_case(name: str) -> str:
    """Return the name of a loss from the name of its class.

    Example:
        >>> snake_case("RegionCCATrace")
        'region_cca_trace'
        >>> snake_case("Poly1CrossEntropy")
        'poly1_cross_entropy'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
