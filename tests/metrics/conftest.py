"""Random label maps shared by these tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

Maps = tuple[Tensor, Tensor]


@pytest.fixture
def random_maps() -> Callable[..., Maps]:
    """``random_maps(seed, images, classes, used)``: predictions and labels, 20 % of these ignored."""

    def draw(seed: int, images: int = 3, classes: int = 5, used: int | None = None) -> Maps:
        generator = torch.Generator().manual_seed(seed)
        shape = (images, 9, 11)
        labels = torch.randint(0, used or classes, shape, generator=generator, dtype=torch.uint8)
        guesses = torch.randint(0, used or classes, shape, generator=generator, dtype=torch.uint8)
        predictions = torch.where(torch.rand(shape, generator=generator) < 0.5, labels, guesses)
        labels[torch.rand(shape, generator=generator) < 0.2] = 255
        return predictions, labels

    return draw
