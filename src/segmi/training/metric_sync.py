"""Metrics of optimizer steps: kept on the device, fetched together, averaged between rows of the history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segmi.errors import Diverged
from segmi.training.distributed import ProcessGroup


class StepMetrics(NamedTuple):
    """Metrics of one step, summed over the processes."""

    step: int
    names: tuple[str, ...]  # images in this process's part of the batch
    values: dict[str, float]  # loss and terms by name
    ratios: dict[str, list[tuple[float, float]]]  # diagnostics by name: (numerator, denominator) per class


class _Pending(NamedTuple):
    step: int
    names: tuple[str, ...]
    values: list[str]
    ratio_sizes: dict[str, int]
    numbers: Tensor  # 1-D: the values, then numerators and denominators of each ratio


class MetricSync:
    """Metrics of past steps on the device, until they are summed over the processes and fetched in one transfer."""

    def __init__(self, processes: ProcessGroup) -> None:
        self.processes = processes
        self._pending: list[_Pending] = []

    def add(
        self, step: int, names: tuple[str, ...], values: Mapping[str, Tensor],
        ratios: Mapping[str, tuple[Tensor, Tensor]],
    ) -> None:  # fmt: skip
        """Store scalar values, and ratios of scalars or of one value per class, without waiting for the device."""
        # All in one tensor, so that fetching takes one transfer and one reduction.
        flat = [value.detach().reshape(1) for value in values.values()]
        flat += [part.detach().reshape(-1) for ratio in ratios.values() for part in ratio]
        dtype = torch.float32 if flat[0].device.type == "mps" else torch.float64  # mps has no float64
        sizes = {name: numerator.numel() for name, (numerator, _) in ratios.items()}
        self._pending.append(_Pending(step, names, list(values), sizes, torch.cat([part.to(dtype) for part in flat])))

    def fetch(self) -> Iterator[StepMetrics]:
        """Yield the steps since the last call, in order. This waits for the device."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        numbers = self.processes.sum(torch.cat([step.numbers for step in pending])).tolist()
        start = 0
        for step in pending:
            values = dict(zip(step.values, numbers[start:], strict=False))
            start += len(values)
            ratios = {}
            for name, size in step.ratio_sizes.items():
                numerators, denominators = (numbers[start + i * size : start + (i + 1) * size] for i in (0, 1))
                ratios[name] = list(zip(numerators, denominators, strict=True))
                start += 2 * size
            yield StepMetrics(step.step, step.names, values, ratios)


@dataclass
class RunningMeans:
    """Means of the loss, its terms and diagnostics since the last row of the history."""

    count: int = 0  # steps
    sums: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, list[float]] = field(default_factory=dict)  # sums of numerators and denominators

    def add(self, values: Mapping[str, float]) -> None:
        """Add the values of one step."""
        self.count += 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def add_ratio(self, name: str, numerator: float, denominator: float) -> None:
        """Add to a mean that weights the steps differently."""
        ratio = self.ratios.setdefault(name, [0.0, 0.0])
        ratio[0] += numerator
        ratio[1] += denominator

    def means(self) -> dict[str, float]:
        """Return the means by name, without ratios whose denominator is 0."""
        means = {name: total / self.count for name, total in self.sums.items()} if self.count else {}
        return means | {name: num / den for name, (num, den) in self.ratios.items() if den > 0}

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain types."""
        return asdict(self)

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> RunningMeans:
        """Return the means with a state from `state_dict`."""
        ratios = {name: list(ratio) for name, ratio in state["ratios"].items()}
        return cls(count=int(state["count"]), sums=dict(state["sums"]), ratios=ratios)


def check_finite(metrics: StepMetrics, processes: ProcessGroup) -> None:
    """Raise `Diverged` with the images of all processes if a value of a step is NaN or infinite."""
    if all(abs(value) < float("inf") for value in metrics.values.values()):  # false for NaN too
        return
    listing = ", ".join(f"{name} = {value:g}" for name, value in metrics.values.items())
    # All processes have the same sums, so all of them get here.
    names: tuple[str, ...] = sum(processes.gather(metrics.names), ())
    raise Diverged(
        f"the loss is NaN or infinite at step {metrics.step}: {listing}; images of the batch: {', '.join(names)}",
        "lower the learning rate, set clip_norm, or check these images and masks",
    )
