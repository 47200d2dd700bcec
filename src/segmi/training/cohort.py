"""The networks that are trained together, as one module."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from segmi.arrays import Images, Output
from segmi.errors import UsageError, unknown_name
from segmi.models.layers import inside, kept_outputs, layer_names

EditOfMember: TypeAlias = Callable[[str, str, Tensor], Tensor]
"""What takes the place of a layer's output in training: from the member, the layer and that output."""


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
        self._watched: dict[str, tuple[str, ...]] = {}
        self._edit: EditOfMember | None = None
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
                outputs[name] = self._output(name, member, images)
        return outputs

    def watch(self, layers: Mapping[str, Sequence[str]], edit: EditOfMember | None = None) -> None:
        """From now on return the outputs of these layers as features.

        Args:
            layers: the dotted names of layers by member, as `segmi.models.layer_names` lists them; none to stop.
            edit: what the members go on with in training instead of those outputs; the features are what came before.

        Raises:
            UsageError: for an unknown member or layer, with the nearest one.
        """
        for member, names in layers.items():
            if member not in self.members:
                raise unknown_name("member", member, self.members)
            known = layer_names(self.members[member])
            for name in names:
                if name not in known:
                    raise unknown_name(f"layer of {member}:", name, known)
        self._watched = {member: tuple(dict.fromkeys(names)) for member, names in layers.items()}
        self._edit = edit

    def _output(self, name: str, member: nn.Module, images: Images) -> Output:
        watched = self._watched.get(name, ())
        if not watched:
            output: Output = member(images)
            return output
        kept: dict[str, Tensor] = {}
        edit = partial(self._edit, name) if self._edit is not None and self.training else None
        with kept_outputs(inside(member), watched, kept, edit):
            output = member(images)
        return output._replace(features={**output.features, **kept})

    @property
    def stride(self) -> int:
        """What the height and width of its pictures must be multiples of for all members to accept them."""
        return math.lcm(*(self.stride_of(name) for name in self.members))

    def stride_of(self, name: str) -> int:
        """The stride of one member; 1 for a network that declares none."""
        stride: Any = getattr(self.members[name], "stride", 1)
        return int(stride)
