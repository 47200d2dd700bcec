"""Moving average of the weights of a cohort, evaluated beside the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor

from segmi.training.cohort import Cohort

EXPONENT: Final = 6.94
"""γ of the average. Its profile over the steps has a standard deviation of a tenth of the steps done."""


class WeightAverage:
    """Power-function average of weights and batch statistics, with a profile that is the same for runs of any length.

    ``w̄ ← β w̄ + (1 - β) w`` after step t = 1, 2, … with ``β = (1 - 1/t)^(γ + 1)``, so that step s of t has a weight
    proportional to ``(s/t)^γ``: Karras et al., Analyzing and Improving the Training Dynamics of Diffusion Models, 2024,
    equations 1 and 2.

    Args:
        cohort: the networks that are averaged.
    """

    def __init__(self, cohort: Cohort) -> None:
        self._own = dict(cohort.state_dict())  # shares memory with the cohort
        self.values = {name: value.clone() for name, value in self._own.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Add the weights after optimizer step ``step``, counted from 1."""
        share = 1 - (1 - 1 / step) ** (EXPONENT + 1)
        names = [name for name, value in self.values.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.values[name] for name in names], [self._own[name] for name in names], share)
        for name in self.values.keys() - names:  # integers, such as the number of batches
            self.values[name].copy_(self._own[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Exchange the weights of the cohort with their average."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, value in self._own.items():
            weights = value.clone()
            value.copy_(self.values[name])
            self.values[name].copy_(weights)

    def load_state_dict(self, values: Mapping[str, Tensor]) -> None:
        """Restore the average from `values` of another instance."""
        for name, value in self.values.items():
            value.copy_(values[name])
