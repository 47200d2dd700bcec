"""What each objective of the catalogue is trained with, so that every one of them can be: networks, layers, options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from segmi.objectives import OBJECTIVES, Objective, TakesClassCounts, Term, build_objective

ALONE: Final = (
    "cross_entropy", "binary_cross_entropy", "rmi_loss", "probability_corrected", "weighted_cross_entropy",
    "balanced_cross_entropy", "focal", "label_smoothing",
)  # fmt: skip
"""Losses that know what the classes are called and press for probabilities: they stand in the place of cross-entropy,
all others beside it."""

OPTIONS: Final[dict[str, dict[str, Any]]] = {"region_matched_bound": {"target": -1.0}}
"""What those need that have no default for everything."""

TRAINED_WITH: Final[dict[str, dict[str, Any]]] = {
    "region_own_pixel": {"mode": "sound"},
    "region_covariance_matching": {"probability": "softmax"},
}
"""What is not the default in training. In the other mode, a sum over classes, the first has more weight than
cross-entropy, and leads to the flat map, at which it stands still and is worth less than what cross-entropy finds. The
second has a slope too small to move sigmoids of logits that cross-entropy leaves free to shift together."""

TEACHER: Final = "teacher"


class Case(NamedTuple):
    """A cohort and what it is trained on.

    Args:
        members: the networks that learn.
        teaches: whether there is a trained one beside them that does not.
        specification: of the whole objective, as in a study.
    """

    members: tuple[str, ...]
    teaches: bool
    specification: dict[str, dict[str, Any]]

    @property
    def everybody(self) -> tuple[str, ...]:
        return (*self.members, TEACHER) if self.teaches else self.members

    def with_options(self, **options: Any) -> Case:
        """The same with further options of the last objective."""
        *_, last = self.specification
        return self._replace(specification={**self.specification, last: {**self.specification[last], **options}})

    def objective(self, *own: str) -> Objective:
        """The whole objective, or those of its parts that are named."""
        chosen = {name: self.specification[name] for name in own or self.specification}
        return build_objective(chosen, members=self.everybody, frozen=[TEACHER] if self.teaches else [])


def case(name: str, *, layer: str, weights: Mapping[str, float]) -> Case:
    """How an objective is trained: beside cross-entropy or in its place, with whom it needs.

    Args:
        name: in `OBJECTIVES`.
        layer: at which those look that look inside a network.
        weights: factors in the sum, by name, where 1 is not meant.
    """
    needs = OBJECTIVES[name].needs
    members, teaches = ("a", "b") if "peers" in needs else ("a",), "teacher" in needs
    options = {**OPTIONS.get(name, {}), **TRAINED_WITH.get(name, {}), "weight": weights.get(name, 1.0)}
    if "features" in needs:
        options["layers"] = dict.fromkeys((*members, TEACHER) if teaches else members, layer)
    own = {name: options}
    return Case(members, teaches, own if name in ALONE else {"cross_entropy": {}, **own})


def tell_class_counts(objective: nn.Module, counts: Tensor) -> None:
    """What training tells those that ask for it."""
    for part in objective.modules():
        if isinstance(part, TakesClassCounts):
            part.take_class_counts(counts)


def own_value(name: str, terms: Mapping[str, Term]) -> Tensor:
    """The weighted sum of the terms of one objective, over parts and members."""
    own = [term for key, term in terms.items() if key.split("/")[0].split(".")[0] == name]
    return torch.stack([term.weight * term.value for term in own]).sum()


def looks_at_unlabelled(objective: Objective) -> bool:
    """Whether its batches have pictures without labels in them."""
    return bool({"two views", "unlabelled pictures"} & set(objective.needs))
