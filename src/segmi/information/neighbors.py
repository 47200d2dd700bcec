"""Mutual information from nearest neighbors, without a model."""

from __future__ import annotations

import torch
from torch import Tensor

from segmi.information._checks import in_base, real


def ksg_mutual_information(
    x: Tensor, y: Tensor, *, neighbors: int = 3, base: float | None = None, chunk: int = 256
) -> Tensor:
    """Return the first estimate of Kraskov, Stögbauer and Grassberger, from distances to nearest neighbors.

    ``Î = ψ(k) + ψ(n) - 1/n Σ_i [ψ(n_x(i) + 1) + ψ(n_y(i) + 1)]``, n_x(i) the number of other samples whose x is closer
    to x_i than the k-th neighbor of (x_i, y_i), in the maximum norm

    Assumes independent samples of a density. Accurate for few dimensions and little information. It is far too small
    if I is large for the number of samples (about e^{2I} are needed) or the dimensions are many. Ties break it: add a
    little noise. It depends on the scales of the coordinates. ``O(n²)`` distances, ``chunk`` rows at a time.

    Shapes:
        x: n×D; y: n×E; the result is a scalar.
        neighbors: k, from 1 to n - 1; small k has little bias, large k little variance.
    Unit and sign: nats; slightly negative values occur for independent variables. No gradient.
    Source: Kraskov, Stögbauer and Grassberger, *Estimating mutual information*, Phys. Rev. E 69, 2004, eq. 8.
    Example:
        >>> x = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0))
        >>> y = 0.8 * x + 0.6 * torch.randn(2000, 1, generator=torch.Generator().manual_seed(1))
        >>> abs(ksg_mutual_information(x, y) - 0.5108) < 0.05  # -½ log(1 - 0.8²)
        tensor(True)
    """
    x, y = paired_samples(x, y)
    n = x.shape[0]
    if isinstance(neighbors, bool) or not 1 <= neighbors < n:
        raise ValueError(f"neighbors: expected 1 to {n - 1} for {n} samples, got {neighbors!r}")
    total = x.new_zeros((), dtype=torch.float64 if x.device.type != "mps" else torch.float32)
    with torch.no_grad():
        # chunks of rows bound the memory by chunk · n
        for start in range(0, n, chunk):
            rows = slice(start, start + chunk)
            distances = [torch.cdist(of[rows], of, p=torch.inf) for of in (x, y)]
            own = torch.arange(start, min(start + chunk, n), device=x.device)[:, None]
            # maximum norm of (x, y); a sample is not its own neighbor
            joint = torch.maximum(*distances).scatter_(1, own, torch.inf)
            radius = joint.kthvalue(neighbors, dim=1, keepdim=True).values
            for d in distances:  # -1 counts the sample itself, the + 1 of the formula
                closer = (d.scatter_(1, own, -1.0) < radius).sum(1)
                total += torch.digamma(closer.to(total.dtype)).sum()
        counts = torch.tensor([neighbors, n], dtype=total.dtype, device=x.device)
        return in_base(torch.digamma(counts).sum() - total / n, base).to(x.dtype)


def paired_samples(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``x`` (n×D) and ``y`` (n×E) after checking that they are at least two pairs."""
    x, y = (real(v, name, instead="convert it with .float()") for v, name in ((x, "x"), (y, "y")))
    if x.ndim != 2 or y.ndim != 2 or x.shape[0] != y.shape[0] or x.shape[0] < 2:
        raise ValueError(
            f"expected x of shape n×D and y of shape n×E with the same n ≥ 2, got {tuple(x.shape)} and "
            f"{tuple(y.shape)}; give single coordinates a last dimension with [:, None]"
        )
    return x, y
