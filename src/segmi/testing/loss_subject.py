"""The loss under test, with small scenes of labels and logits."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmi.losses import ClassCounts, Loss, Objective, PerNetwork, Term
from segmi.types import IGNORE_INDEX, Batch, Labels, Logits, Output

CLASSES: Final = 4


class LossSubject:
    """A loss as an objective on two networks: ``net``, and the frozen network ``peer``.

    Args:
        loss: see `segmi.testing.check_loss`.
        title: name in messages; None: the name of the class or function.
        channels: numbers of channels that the gradient is checked for.
    """

    def __init__(self, loss: Any, title: str | None = None, channels: Iterable[int] = (1, CLASSES)) -> None:
        self.make, self.makes_any = _factory(loss)
        named = loss.func if isinstance(loss, partial) else loss
        self.channels = tuple(channels)
        self.title: str = title or str(getattr(named, "__name__", type(named).__name__))

    @property
    def declares(self) -> bool:
        """Whether it is a class of segmi, which declares scope, invariances and denominators."""
        return isinstance(self.built(), Loss | Objective)

    def built(self, ignore_index: int = IGNORE_INDEX) -> Any:
        """Return the loss; only factories accept another ``ignore_index`` than the default."""
        return self.make(ignore_index=ignore_index) if self.makes_any else self.make()

    def objective(self, logits: Logits, ignore_index: int = IGNORE_INDEX) -> Objective:
        """Return the loss as an objective that is ready for such logits."""
        built = self.built(ignore_index)
        for part in built.modules() if isinstance(built, nn.Module) else ():
            if isinstance(part, ClassCounts):
                part.set_counts(torch.arange(1, max(logits.shape[1], 2) + 1))
        if not isinstance(built, Objective):
            return PerNetwork(built, self.title, frozen=("peer",))
        built.frozen = ("peer",)
        built.prepare(outputs_of(logits), seed=0)
        return built.to(torch.promote_types(logits.dtype, torch.float32))

    def terms(self, logits: Logits, labels: Labels, ignore_index: int = IGNORE_INDEX) -> dict[str, Term]:
        """Return the terms of ``net``; the peer is a fixed function of the same logits."""
        return self.objective(logits, ignore_index)(outputs_of(logits), Batch(logits, labels))

    def value(self, logits: Logits, labels: Labels, ignore_index: int = IGNORE_INDEX) -> Tensor:
        """Return the weighted sum of the terms."""
        return total(self.terms(logits, labels, ignore_index))

    def gradient(self, logits: Logits, labels: Labels, ignore_index: int = IGNORE_INDEX) -> tuple[Tensor, Tensor]:
        """Return the value and its gradient with respect to the logits."""
        leaf = logits.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        value = self.value(leaf, labels, ignore_index)
        (slope,) = torch.autograd.grad(value, leaf)
        return value.detach(), slope


def total(terms: dict[str, Term]) -> Tensor:
    """Return the weighted sum of terms."""
    first, *others = [term.weight * term.value for term in terms.values()]
    return sum(others, start=first)


def outputs_of(logits: Logits) -> dict[str, Output]:
    """Return the outputs of both networks; the logits are also the output of the layer ``body``."""
    return {"net": output_of(logits), "peer": output_of(0.5 * logits.detach().flip(1))}


def output_of(logits: Logits) -> Output:
    """Return an output whose features are the logits."""
    return Output(logits, {"body": logits if logits.ndim == 4 else logits.unsqueeze(0)})


def make_labels(n: int, classes: int, height: int, width: int, *, ignored: bool = False, seed: int = 0) -> Labels:
    """Return smooth label maps, N×H×W; with ``ignored``, a corner and some pixels of a row are ignored."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, classes, height // 6 + 2, width // 6 + 2, generator=generator)
    labels = F.interpolate(coarse, (height, width), mode="bicubic").argmax(1)
    if ignored:
        labels[:, :3, : width // 3] = IGNORE_INDEX
        labels[:, height // 2, ::5] = IGNORE_INDEX
    return labels


def make_logits(labels: Labels, channels: int, *, contrast: float = 2.0, noise: float = 1.0, seed: int = 1) -> Logits:
    """Return noisy float64 logits that predict the labels, N×channels×H×W; a single channel is the logit of class 1."""
    generator = torch.Generator().manual_seed(seed)
    known = labels.clamp(max=max(channels, 2))
    one_hot = F.one_hot(known, max(channels, 2) + 1).movedim(-1, 1).double()
    truth = one_hot[:, 1:2] if channels == 1 else one_hot[:, :channels]
    return contrast * (2 * truth - 1) + noise * torch.randn(truth.shape, generator=generator, dtype=torch.float64)


def _factory(loss: Any) -> tuple[Callable[..., Any], bool]:
    # returns a function that makes new losses, and whether it accepts ``ignore_index``
    if isinstance(loss, nn.Module):
        return lambda: copy.deepcopy(loss), False
    if not callable(loss):
        raise TypeError(
            f"expected a loss, its class, or a function, got {type(loss).__name__}. Fix: pass the loss without a name"
        )
    signature = inspect.signature(loss)
    if not isinstance(loss.func if isinstance(loss, partial) else loss, type):
        try:
            signature.bind("logits", "labels")
        except TypeError:
            pass
        else:
            return lambda: loss, False
    if "ignore_index" in signature.parameters:
        return loss, True
    try:  # a signature with ``**options`` does not list the names
        loss(ignore_index=IGNORE_INDEX)
    except TypeError:
        return loss, False
    return loss, True


def differences(
    actual: Tensor, expected: Tensor, title: str, fix: str, rtol: float | None = None, atol: float | None = None
) -> Iterator[str]:
    """Yield the violation if two tensors differ by more than `torch.testing.assert_close` allows."""
    try:
        torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)
    except AssertionError:
        largest = (actual - expected).abs().max().item()
        yield f"{title}: expected {_short(expected)}, got {_short(actual)}, a difference of {largest:.2g}. {fix}"


def _short(tensor: Tensor) -> str:
    return f"{tensor.item():.6g}" if tensor.ndim == 0 else f"a tensor of norm {tensor.norm():.6g}"
