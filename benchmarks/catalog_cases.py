"""What each loss of the catalog is trained with, so that every one of them can be: networks, layers, options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from segmi.losses import LOSSES, ClassCounts, Objective, Term, build_objective

ALONE: Final = (
    "cross_entropy", "binary_cross_entropy", "rmi_loss", "probability_corrected", "weighted_cross_entropy",
    "balanced_cross_entropy", "focal", "label_smoothing",
)  # fmt: skip
"""Losses that know what the classes are called and press for probabilities: they stand in the place of cross-entropy,
all others beside it."""

OPTIONS: Final[dict[str, dict[str, Any]]] = {"region_matched_bound": {"target": -1.0}}
"""What those need that have no default for everything."""

TRAINED_WITH: Final[dict[str, dict[str, Any]]] = {
    "region_own_pixel": {"variant": "corrected"},
    "region_covariance_matching": {"probability": "softmax"},
}
"""What is not the default in training. In the other mode, a sum over classes, the first has more weight than
cross-entropy, and leads to the flat map, at which it stands still and is worth less than what cross-entropy finds. The
second has a slope too small to move sigmoids of logits that cross-entropy leaves free to shift together."""

TEACHER: Final = "teacher"


class Case(NamedTuple):
    """A cohort and what it is trained on.

    Args:
        networks: the networks that learn.
        teaches: whether there is a trained one beside them that does not.
        specification: of the whole loss, as in a study.
    """

    networks: tuple[str, ...]
    teaches: bool
    specification: dict[str, dict[str, Any]]

    @property
    def everybody(self) -> tuple[str, ...]:
        return (*self.networks, TEACHER) if self.teaches else self.networks

    def with_options(self, **options: Any) -> Case:
        """The same with further options of the last loss."""
        *_, last = self.specification
        return self._replace(specification={**self.specification, last: {**self.specification[last], **options}})

    def objective(self, *own: str) -> Objective:
        """The whole loss, or those of its parts that are named."""
        chosen = {name: self.specification[name] for name in own or self.specification}
        return build_objective(chosen, networks=self.everybody, frozen=[TEACHER] if self.teaches else [])


def case(name: str, *, layer: str, weights: Mapping[str, float]) -> Case:
    """How a loss is trained: beside cross-entropy or in its place, with whom it needs.

    Args:
        name: in `LOSSES`.
        layer: at which those look that look inside a network.
        weights: factors in the sum, by name, where 1 is not meant.
    """
    needs = LOSSES[name].requires
    networks, teaches = ("a", "b") if "peers" in needs else ("a",), "teacher" in needs
    options = {**OPTIONS.get(name, {}), **TRAINED_WITH.get(name, {}), "weight": weights.get(name, 1.0)}
    if "features" in needs:
        options["layers"] = dict.fromkeys((*networks, TEACHER) if teaches else networks, layer)
    own = {name: options}
    return Case(networks, teaches, own if name in ALONE else {"cross_entropy": {}, **own})


def tell_class_counts(objective: nn.Module, counts: Tensor) -> None:
    """What training tells those that ask for it."""
    for part in objective.modules():
        if isinstance(part, ClassCounts):
            part.set_counts(counts)


def own_value(name: str, terms: Mapping[str, Term]) -> Tensor:
    """The weighted sum of the terms of one loss, over parts and networks."""
    own = [term for key, term in terms.items() if key.split("/")[0].split(".")[0] == name]
    return torch.stack([term.weight * term.value for term in own]).sum()


def looks_at_unlabeled(objective: Objective) -> bool:
    """Whether its batches have images without labels in them."""
    return bool({"two views", "unlabeled images"} & set(objective.requires))
