"""Small segmentation scenes: smooth label maps, ignored pixels, noisy predictions."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from segmi.testing.loss_subject import make_labels, make_logits


@pytest.fixture
def scene() -> SimpleNamespace:
    """``scene.labels(n, classes, height, width)`` and ``scene.logits(labels, channels)``, with options."""
    return SimpleNamespace(labels=make_labels, logits=make_logits)


@pytest.fixture
def gradient() -> Callable[..., tuple[Tensor, Tensor]]:
    """``gradient(function, logits)``: the value and the gradient with respect to a new leaf."""

    def compute(function: Callable[[Tensor], Tensor], logits: Tensor) -> tuple[Tensor, Tensor]:
        leaf = logits.detach().clone().requires_grad_()
        value = function(leaf)
        (slope,) = torch.autograd.grad(value, leaf)
        return value.detach(), slope

    return compute


class _Crossings(TorchDispatchMode):
    """Record operations that copy values between devices, which synchronize a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        result = function(*arguments, **(options or {}))
        devices = {one.device.type for one in tree_leaves((arguments, options, result)) if isinstance(one, Tensor)}
        if len(devices) > 1:
            self.found.append(str(function))
        return result


class _Reads(TorchDispatchMode):
    """Refuse operations whose result or its shape depends on values, which synchronize a GPU."""

    refused: ClassVar = {
        "_local_scalar_dense", "nonzero", "bincount", "masked_select", "_unique", "_unique2", "unique_dim", "equal",
        "repeat_interleave.Tensor", "linalg_cholesky", "linalg_inv",
    }  # fmt: skip

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        name = str(function).removeprefix("aten.")
        masks = [one for one in tree_leaves(arguments[1:2]) if isinstance(one, Tensor) and one.dtype == torch.bool]
        if {name, name.partition(".")[0]} & self.refused or (name.startswith("index") and masks):
            raise AssertionError(f"expected no operation that reads values, got {function}")
        return function(*arguments, **(options or {}))


class _Fillings(TorchFunctionMode):
    """Record tensors created from Python numbers on other devices than the CPU, which need a copy."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        result = function(*arguments, **(options or {}))
        name = getattr(function, "__name__", "")
        if name in ("tensor", "as_tensor", "asarray", "new_tensor") and result.device.type != "cpu":
            self.found.append(name)
        return result


@pytest.fixture
def no_reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], TorchDispatchMode]:
    """``with no_reads():`` run what runs on a GPU on the CPU, and refuse operations that read values."""

    def refusing() -> TorchDispatchMode:
        monkeypatch.setattr("segmi.losses.targets.is_traced", lambda _: True)
        return _Reads()

    return refusing


@pytest.fixture
def no_waiting(device: torch.device, no_reads: Callable[[], TorchDispatchMode]) -> Callable[[], Any]:
    """``with no_waiting():`` refuse synchronizations: PyTorch does on a GPU, `no_reads` on the CPU."""

    @contextmanager
    def refusing() -> Iterator[None]:
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")

    return refusing if device.type == "cuda" else no_reads


@pytest.fixture
def no_synchronization(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """``with no_synchronization() as copies``: detect synchronizations of a GPU with tensors on the device ``meta``.

    Reading a value raises, since ``meta`` tensors have none; ``copies`` lists copies to and from the device.
    """
    autocast = torch.autocast
    monkeypatch.setattr(  # the device has none
        torch, "autocast", lambda kind, *a, **k: nullcontext() if kind == "meta" else autocast(kind, *a, **k)
    )

    @contextmanager
    def watching() -> Iterator[list[str]]:
        found: list[str] = []
        with _Fillings() as fillings, _Crossings() as crossings:
            yield found
        found += fillings.found + crossings.found

    return watching
