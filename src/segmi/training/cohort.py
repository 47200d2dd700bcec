"""The networks that are trained together, as one module."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from segmi.arrays import Images, Output
from segmi.errors import UsageError, unknown_name


class Cohort(nn.Module):
    """One or more networks whose forward returns the outputs of all of them.

    Model 1 of the study is a cohort of one; mutual learning is a cohort of several; distillation is a cohort with a
    frozen member, which stays in evaluation mode and gets no gradient.

    Args:
        members: networks that return an `Output`, by name.
        frozen: the names of those that teach but do not learn.

    Raises:
        UsageError: if there is no member, if all are frozen, or if a frozen name is unknown.
    """

    def __init__(self, members: Mapping[str, nn.Module], frozen: Sequence[str] = ()) -> None:
        super().__init__()
        if not members:
            raise UsageError("a cohort needs at least one member, got none")
        for name in frozen:
            if name not in members:
                raise unknown_name("frozen member", name, members)
        if len(set(frozen)) == len(members):
            raise UsageError("every member of the cohort is frozen", "leave at least one member to be trained")
        self.members = nn.ModuleDict(members)
        self.frozen = tuple(frozen)
        for name in self.frozen:
            self.members[name].requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Cohort:
        """Training or evaluation mode for the members that learn; frozen ones stay in evaluation mode."""
        super().train(mode)
        for name in self.frozen:
            self.members[name].eval()
        return self

    def forward(self, images: Images) -> dict[str, Output]:
        """The `Output` of every member for N×3×H×W images in [0, 1]."""
        outputs = {}
        for name, member in self.members.items():
            with torch.set_grad_enabled(torch.is_grad_enabled() and name not in self.frozen):
                outputs[name] = member(images)
        return outputs

    @property
    def stride(self) -> int:
        """What the height and width of its pictures must be multiples of for all members to accept them."""
        return math.lcm(*(self.stride_of(name) for name in self.members))

    def stride_of(self, name: str) -> int:
        """The stride of one member; 1 for a network that declares none."""
        stride: Any = getattr(self.members[name], "stride", 1)
        return int(stride)
