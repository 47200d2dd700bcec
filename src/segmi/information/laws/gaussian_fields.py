"""Pairs of Gaussian images, whose windows have known mutual information but are dependent."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from segmi.information.laws.law import Samples, generator


class GaussianFields:
    """Two smooth Gaussian images that are correlated pixel by pixel, on a periodic grid.

    ``Y = ρ X + √(1 - ρ²) noise`` for independent X and noise of the same smoothness. A window of d pixels has
    ``I(X; Y) = -d/2 log(1 - ρ²)`` at any smoothness, but windows of a smooth image are dependent.

    Args:
        height, width: pixels.
        length: correlation length in pixels, ``Cov(u, v) = e^{-|u - v|²/2ℓ²}``; 0 is white noise.
        nats_per_pixel: ``-½ log(1 - ρ²)``, at least 0.
    Raises: ValueError for an argument out of range.
    Example:
        >>> fields = GaussianFields(32, 32, length=2.0, nats_per_pixel=0.5)
        >>> x, y = fields.sample(3)
        >>> x.shape, fields.mutual_information(side=2)
        (torch.Size([3, 32, 32]), 2.0)
    """

    def __init__(self, height: int, width: int, *, length: float, nats_per_pixel: float) -> None:
        if min(height, width) < 1 or not length >= 0 or not nats_per_pixel >= 0:
            raise ValueError(
                f"expected height and width of at least 1, length and nats_per_pixel of at least 0, got {height}, "
                f"{width}, {length} and {nats_per_pixel}"
            )
        self.height, self.width = height, width
        self.length, self.nats_per_pixel = float(length), float(nats_per_pixel)

    def mutual_information(self, side: int = 1) -> float:
        """Return ``I(X; Y)`` of a window of ``side``×``side`` pixels, nats."""
        return side**2 * self.nats_per_pixel

    def sample(self, n: int, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Samples:
        """Return ``n`` independent pairs of images, n×H×W each."""
        draw = generator(seed)
        white = torch.randn(2, n, self.height, self.width, generator=draw, dtype=torch.float64)
        gain = self._gain()
        x, noise = torch.fft.irfft2(torch.fft.rfft2(white) * gain, s=(self.height, self.width))
        rest = math.exp(-self.nats_per_pixel)  # √(1 - ρ²)
        return Samples(x.to(dtype), (math.sqrt(1 - rest**2) * x + rest * noise).to(dtype))

    def _gain(self) -> Tensor:
        # the factor of each frequency of white noise that gives pixels of variance 1
        rows = torch.fft.fftfreq(self.height, dtype=torch.float64)[:, None]
        columns = torch.fft.fftfreq(self.width, dtype=torch.float64)
        # transfer function of a Gaussian kernel
        gain = torch.exp(-((math.pi * self.length) ** 2) * (rows**2 + columns**2))
        return (gain / gain.square().mean().sqrt())[:, : self.width // 2 + 1]


def windows(images: Tensor, side: int, *, stride: int = 1) -> Tensor:
    """Return all square windows of images as vectors.

    Shapes:
        images: N×H×W; the result is n×side², the windows of the first image first.
        stride: pixels between windows.
    Raises: ValueError for other than three dimensions, a window that does not fit, or a stride below 1.
    Example:
        >>> windows(torch.arange(9.0).view(1, 3, 3), 2, stride=1)[0]
        tensor([0., 1., 3., 4.])
    """
    if images.ndim != 3 or not 1 <= side <= min(images.shape[1:]) or stride < 1:
        raise ValueError(
            f"expected images N×H×W, windows that fit into them and a stride of at least 1, got shape "
            f"{tuple(images.shape)}, side {side} and stride {stride}"
        )
    return images.unfold(1, side, stride).unfold(2, side, stride).reshape(-1, side**2)
