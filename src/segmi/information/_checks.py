"""Checks of inputs, and the unit of results."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def in_base(nats: Tensor, base: float | None) -> Tensor:
    """Return ``nats`` in units of ``log(base)``: unchanged for None, bits for 2, bans for 10."""
    if base is None:
        return nats
    if not (base > 0 and base != 1 and math.isfinite(base)):
        raise ValueError(f"base: expected a positive finite number other than 1, or None for nats, got {base!r}")
    return nats / math.log(base)


def real(values: Tensor, name: str, *, instead: str) -> Tensor:
    """Return ``values``, upcast from half precision, after checking their dtype; ``instead`` is the fix."""
    if not isinstance(values, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(values).__name__}; wrap it in torch.as_tensor")
    if not values.is_floating_point():
        raise TypeError(f"{name}: expected a floating-point tensor, got {values.dtype}; {instead}")
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def distribution(p: Tensor, name: str, *, dims: int | tuple[int, ...], check: bool) -> Tensor:
    """Return ``p`` upcast by `real` after checking that it is non-negative and sums to 1 over ``dims``.

    The tolerance of the sums is 1e-5, or 8 units of the input's precision if that is more.
    """
    # 8 units of the precision of the input before upcasting
    tolerance = max(1e-5, 8 * torch.finfo(p.dtype).eps) if isinstance(p, Tensor) and p.is_floating_point() else 0.0
    p = real(p, name, instead="turn counts into probabilities with empirical_distribution")
    wanted = (dims,) if isinstance(dims, int) else dims
    at_least = max(-dim if dim < 0 else dim + 1 for dim in wanted)
    if p.ndim < at_least:
        raise ValueError(f"{name}: expected at least {at_least} dimension(s), got shape {tuple(p.shape)}")
    if any(p.shape[dim] == 0 for dim in wanted):
        raise ValueError(f"{name}: expected at least one outcome, got shape {tuple(p.shape)}")
    if check and p.numel():
        if not bool((p >= 0).all()):
            raise ValueError(
                f"{name}: expected probabilities, all at least 0, got {p.min().item():g}; apply softmax to logits"
            )
        totals = p.sum(wanted)
        off = (totals - 1).abs()
        if not bool((off <= tolerance).all()):
            worst = totals.flatten()[off.flatten().argmax()].item()
            raise ValueError(
                f"{name}: expected probabilities that sum to 1 over dimension(s) {wanted}, got a sum of {worst:.6g}; "
                "divide by the sum, or apply empirical_distribution to counts"
            )
    return p


def covariance(matrix: Tensor, name: str, *, check: bool) -> Tensor:
    """Return ``matrix`` upcast by `real` after checking that it is square, finite and symmetric."""
    matrix = real(matrix, name, instead="convert it with .double()")
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2] or matrix.shape[-1] == 0:
        raise ValueError(f"{name}: expected square matrices (…×D×D), got shape {tuple(matrix.shape)}")
    if check and matrix.numel():
        if not bool(matrix.isfinite().all()):
            raise ValueError(f"{name}: expected finite entries, got NaN or infinity; look at the samples behind it")
        asymmetry = (matrix - matrix.mT).abs().amax((-2, -1))
        # rounding of a covariance computed as a product
        allowed = math.sqrt(torch.finfo(matrix.dtype).eps) * matrix.abs().amax((-2, -1))
        if not bool((asymmetry <= allowed).all()):
            raise ValueError(
                f"{name}: expected symmetric matrices, got entries that differ from their mirror image by "
                f"{asymmetry.max().item():.3g}; average with the transpose if that is rounding"
            )
    return matrix


def split_of(size: int, split: int) -> int:
    """Return ``split`` after checking that it leaves at least one of ``size`` variables on either side."""
    if isinstance(split, bool) or not isinstance(split, int):
        raise TypeError(f"split: expected an int, the number of leading variables in X, got {split!r}")
    if not 0 < split < size:
        raise ValueError(f"split: expected 1 to {size - 1} of the {size} variables in X, got {split}")
    return split
