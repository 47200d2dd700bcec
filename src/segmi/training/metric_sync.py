"""What steps leave on the device, fetched together: the only place of training that waits for a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from segmi.training.processes import Processes


class StepValues(NamedTuple):
    """What is known of one step.

    Args:
        step: its number.
        names: the images of its batch that were this process's.
        values: loss and terms by name.
        ratios: numerators and denominators of diagnostics by name, a pair per class.
    """

    step: int
    names: tuple[str, ...]
    values: dict[str, float]
    ratios: dict[str, list[tuple[float, float]]]


class _Waiting(NamedTuple):
    step: int
    names: tuple[str, ...]
    values: list[str]
    ratios: dict[str, int]
    numbers: Tensor


class ReadBack:
    """Values of steps as they stand on the device, until they are fetched: one transfer for all of them.

    Args:
        processes: whose values are summed.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self._waiting: list[_Waiting] = []

    def add(
        self,
        step: int,
        names: tuple[str, ...],
        values: Mapping[str, Tensor],
        ratios: Mapping[str, tuple[Tensor, Tensor]],
    ) -> None:
        """Remember a step without looking at it: its scalars, and ratios of scalars or of a value per class."""
        flat = [value.detach().reshape(1) for value in values.values()]
        flat += [part.detach().reshape(-1) for ratio in ratios.values() for part in ratio]
        wide = torch.float32 if flat[0].device.type == "mps" else torch.float64
        sizes = {name: numerator.numel() for name, (numerator, _) in ratios.items()}
        self._waiting.append(_Waiting(step, names, list(values), sizes, torch.cat([part.to(wide) for part in flat])))

    def fetch(self) -> Iterator[StepValues]:
        """The steps since the last call, in order; their values are sums over the processes."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        numbers = self.processes.sum(torch.cat([step.numbers for step in waiting])).tolist()
        position = 0
        for step in waiting:
            values = dict(zip(step.values, numbers[position:], strict=False))
            position += len(values)
            ratios = {}
            for name, size in step.ratios.items():
                numerators, denominators = (numbers[position + i * size : position + (i + 1) * size] for i in (0, 1))
                ratios[name] = list(zip(numerators, denominators, strict=True))
                position += 2 * size
            yield StepValues(step.step, step.names, values, ratios)
