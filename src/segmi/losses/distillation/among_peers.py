"""What losses among peers have in common: everyone who learns does so from all the others."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor

from segmi.losses.base import Invariance, Objective, Outputs, Term
from segmi.losses.targets import upcast
from segmi.types import Batch, Labels, Logits


class AmongPeers(Objective):
    """A loss of every network that learns, from all the others: one term ``name/network`` each.

    Args:
        name: the name of the terms.
        weight: their factor in the sum that is minimized.
        frozen: networks that teach and do not learn.
        ignore_index: the label of ignored pixels.
    """

    family = "distillation"
    requires = ("peers",)
    invariances: tuple[Invariance, ...] = (
        "logit shift",
        "prediction permutation",
        "class permutation",
        "pixel permutation",
    )

    def __init__(self, *, name: str, weight: float, frozen: Sequence[str], ignore_index: int) -> None:
        super().__init__()
        self.name, self.weight = name, float(weight)
        self.frozen, self.ignore_index = tuple(frozen), ignore_index

    @abstractmethod
    def learned(self, own: Logits, others: Sequence[Logits], labels: Labels) -> Term:
        """What one network has to learn from the others."""

    def counted(self, labels: Labels) -> Tensor:
        """The number of pixels that count: those that are not ignored."""
        return (labels != self.ignore_index).sum()

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """One term per network that learns."""
        found = {}
        for network in self._learners(outputs):
            others = [output.logits for other, output in outputs.items() if other != network]
            term = self.learned(outputs[network].logits, others, batch.labels)
            found[f"{self.name}/{network}"] = term._replace(weight=self.weight)
        return found

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """The number of pixels that count, for every term."""
        count = self.counted(batch.labels)
        return {
            f"{self.name}/{network}": count.to(upcast(outputs[network].logits).dtype)
            for network in self._learners(outputs)
        }

    def _learners(self, outputs: Outputs) -> list[str]:
        learners = [network for network in outputs if network not in self.frozen]
        if len(outputs) < 2 or not learners:
            raise ValueError(
                f"{self.name}: expected two or more networks, one of them not frozen, got {list(outputs)} with "
                f"{list(self.frozen)} frozen; add a network"
            )
        return learners
