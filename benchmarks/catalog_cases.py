"""Networks, layers and options for training each loss of `segmi.losses.LOSSES` in benchmarks."""

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
"""Losses that identify classes by labels and train probabilities: they replace cross-entropy; all others are added."""

OPTIONS: Final[dict[str, dict[str, Any]]] = {"region_matched_bound": {"target": -1.0}}
"""Required options."""

TRAINED_WITH: Final[dict[str, dict[str, Any]]] = {
    "region_own_pixel": {"variant": "corrected"},
    "region_covariance_matching": {"probability": "softmax"},
}
"""Options of training other than the defaults. The variant ``published`` of the first, a sum over classes, dominates
cross-entropy and leads to a constant map, where its gradient is 0 and its value is worse than after cross-entropy. The
gradient of the second is too small for sigmoids, because cross-entropy leaves a common shift of the logits free."""

TEACHER: Final = "teacher"


class Case(NamedTuple):
    """A cohort and its losses.

    Args:
        networks: the networks that are trained.
        teaches: whether there is also a trained, frozen teacher.
        specification: of all losses, as in a study.
    """

    networks: tuple[str, ...]
    teaches: bool
    specification: dict[str, dict[str, Any]]

    @property
    def all_networks(self) -> tuple[str, ...]:
        return (*self.networks, TEACHER) if self.teaches else self.networks

    def with_options(self, **options: Any) -> Case:
        """Return the same case with further options of the last loss."""
        *_, last = self.specification
        return self._replace(specification={**self.specification, last: {**self.specification[last], **options}})

    def objective(self, *own: str) -> Objective:
        """Build the losses, or those with the given names."""
        chosen = {name: self.specification[name] for name in own or self.specification}
        return build_objective(chosen, networks=self.all_networks, frozen=[TEACHER] if self.teaches else [])


def case(name: str, *, layer: str, weights: Mapping[str, float]) -> Case:
    """Return how a loss is trained: added to cross-entropy or instead of it, with the networks that it requires.

    Args:
        name: in `LOSSES`.
        layer: the layer of losses on features.
        weights: weights by name of the loss; 1 where missing.
    """
    needs = LOSSES[name].requires
    networks, teaches = ("a", "b") if "peers" in needs else ("a",), "teacher" in needs
    options = {**OPTIONS.get(name, {}), **TRAINED_WITH.get(name, {}), "weight": weights.get(name, 1.0)}
    if "features" in needs:
        options["layers"] = dict.fromkeys((*networks, TEACHER) if teaches else networks, layer)
    own = {name: options}
    return Case(networks, teaches, own if name in ALONE else {"cross_entropy": {}, **own})


def set_class_counts(objective: nn.Module, counts: Tensor) -> None:
    """Set the class counts of the losses that use them, as training does."""
    for part in objective.modules():
        if isinstance(part, ClassCounts):
            part.set_counts(counts)


def own_value(name: str, terms: Mapping[str, Term]) -> Tensor:
    """Return the weighted sum of the terms of one loss, over its parts and networks."""
    own = [term for key, term in terms.items() if key.split("/")[0].split(".")[0] == name]
    return torch.stack([term.weight * term.value for term in own]).sum()


def uses_unlabeled(objective: Objective) -> bool:
    """Return whether the batches contain images without labels."""
    return bool({"two views", "unlabeled images"} & set(objective.requires))
