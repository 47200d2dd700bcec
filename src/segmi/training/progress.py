"""What a run tells about itself while it goes on: the running means of its terms, and the rows of its history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from segmi.errors import Diverged
from segmi.training.processes import Processes


@dataclass(frozen=True)
class FitProgress:
    """Where a run stands.

    Args:
        step: steps done.
        steps: steps in all.
        epoch: passes over the training images begun, from 0.
        loss: the weighted sum at the last step that was read back.
        images_per_second: since this process began.
        phase: ``begin``, ``train`` or ``validate``.
        text: what is worth saying beyond that.
    """

    step: int
    steps: int
    epoch: int
    loss: float
    images_per_second: float
    phase: str = "train"
    text: str = ""


ProgressCallback: TypeAlias = Callable[[FitProgress], None]


@dataclass
class RunningMeans:
    """Means of the loss, its terms and their diagnostics since the last row of the history.

    They survive a checkpoint as plain numbers.
    """

    count: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, list[float]] = field(default_factory=dict)

    def add(self, values: Mapping[str, float]) -> None:
        """One update's values by name."""
        self.count += 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def add_ratio(self, name: str, numerator: float, denominator: float) -> None:
        """One update's share of a mean that not every step has equally much part in."""
        ratio = self.ratios.setdefault(name, [0.0, 0.0])
        ratio[0] += numerator
        ratio[1] += denominator

    def means(self) -> dict[str, float]:
        """The mean of every value added since the last reset; none of a ratio of which nothing was there."""
        means = {name: total / self.count for name, total in self.sums.items()} if self.count else {}
        return means | {name: over / under for name, (over, under) in self.ratios.items() if under > 0}

    def reset(self) -> None:
        """Forget everything."""
        self.count, self.sums, self.ratios = 0, {}, {}

    def state(self) -> dict[str, Any]:
        """Plain types for the checkpoint."""
        return {"count": self.count, "sums": dict(self.sums), "ratios": {k: list(v) for k, v in self.ratios.items()}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> RunningMeans:
        """The means as they were at the checkpoint."""
        ratios = {name: list(ratio) for name, ratio in state.get("ratios", {}).items()}
        return cls(count=int(state["count"]), sums=dict(state["sums"]), ratios=ratios)


def check_finite(values: Mapping[str, float], step: int, names: tuple[str, ...], processes: Processes) -> None:
    """Stop a run whose loss is no number any more.

    Raises:
        Diverged: with the step, the terms and the images of the batch, those of the other processes included.
    """
    if all(abs(value) < float("inf") for value in values.values()):  # false for NaN too
        return
    listing = ", ".join(f"{name} = {value:g}" for name, value in values.items())
    names = sum(processes.gather(names), ())
    raise Diverged(
        f"the loss is not finite at update {step}: {listing}; images of the batch: {', '.join(names)}",
        "lower the learning rate, set clip_norm, or look at these images and masks",
    )
