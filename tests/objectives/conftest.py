"""Small pictures that look like segmentation: smooth label maps, void pixels, predictions between noise and truth."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor


def _labels(n: int, classes: int, height: int, width: int, *, void: bool = False, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, classes, height // 6 + 2, width // 6 + 2, generator=generator)
    labels = F.interpolate(coarse, (height, width), mode="bicubic").argmax(1)
    if void:
        labels[:, :3, : width // 3] = 255
        labels[:, height // 2, ::5] = 255
    return labels


def _logits(labels: Tensor, channels: int, *, contrast: float = 2.0, noise: float = 1.0, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    known = labels.clamp(max=max(channels, 2))
    one_hot = F.one_hot(known, max(channels, 2) + 1).movedim(-1, 1).double()
    truth = one_hot[:, 1:2] if channels == 1 else one_hot[:, :channels]
    return contrast * (2 * truth - 1) + noise * torch.randn(truth.shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def scene() -> SimpleNamespace:
    """``scene.labels(n, classes, height, width)`` and ``scene.logits(labels, channels)``, with options."""
    return SimpleNamespace(labels=_labels, logits=_logits)


@pytest.fixture
def gradient() -> Callable[..., tuple[Tensor, Tensor]]:
    """``gradient(function, logits)``: the value and the gradient, of a fresh leaf."""

    def compute(function: Callable[[Tensor], Tensor], logits: Tensor) -> tuple[Tensor, Tensor]:
        leaf = logits.detach().clone().requires_grad_()
        value = function(leaf)
        (slope,) = torch.autograd.grad(value, leaf)
        return value.detach(), slope

    return compute
