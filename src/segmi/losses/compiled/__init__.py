"""Compiled CPU code that binary cross-entropy and region mutual information share.

The modules here import Numba, so they are imported when a compiled routine is first called. Only the checks in this
file are cheap.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final, Literal

import torch
from torch import Tensor
from torch.nn import Parameter

from segmi.types import Logits

__all__ = ["is_eager", "kernel_obstacle"]

_DEVICES: Final = {"numba": "cpu", "triton": "cuda"}


def kernel_obstacle(kernel: Literal["numba", "triton"], logits: Logits) -> str:
    """Return why a compiled routine cannot run on these logits, or an empty string if it can."""
    if find_spec(kernel) is None:
        return f"expected the package {kernel} to be installed, got none"
    if logits.device.type != _DEVICES[kernel]:
        return f"expected logits on a device of type {_DEVICES[kernel]!r}, got {logits.device.type!r}"
    if logits.dtype not in (torch.float16, torch.bfloat16, torch.float32):
        return f"expected logits of at most 32 bits, got {logits.dtype}"
    return ""


def is_eager(logits: Tensor) -> bool:
    """Return whether values may be read: no tracing, dispatch mode or functional transform is active."""
    return (
        type(logits) in (Tensor, Parameter)
        and not torch.compiler.is_compiling()
        and not torch._C._len_torch_dispatch_stack()
        and torch._C._functorch.peek_interpreter_stack() is None
    )
