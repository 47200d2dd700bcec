"""Covariances of square windows, and their gradients with respect to the map, as an operator of PyTorch.

A map of h×w values has n = h'·w' windows of side R, each a vector of d = R² values; their d×n matrix is R² times the
map. Only columns are unfolded here, which takes R copies of a row. Two positions in a window that are s rows apart give
products of a row with the row s below it: one batched product per row with the R - 1 rows below it, after which a small
0/1 matrix selects the rows that count for each position. If windows are excluded, which rows count depends on the
window, so that all R rows of a window are multiplied with each other.

Nothing here depends on values, so that nothing synchronizes with a GPU. The operator is opaque to `torch.compile`, and
has a batching rule for `torch.func.vmap`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor

_CHUNK_BYTES: Final = 4 * 2**20  # memory of the unfolded rows of one chunk of maps; more does not fit the caches
_CHUNK_BYTES_OF_DEVICES: Final = 256 * 2**20  # where the number of calls matters more than caches
_CHUNK_SHARE: Final = 0.25  # upper bound of a chunk, as a share of the maps in float32

SECOND_DERIVATIVE: Final = (
    "region_mutual_information: expected to be differentiated once, got a second derivative, which the closed-form "
    "gradient does not have. Fix: use segmi.losses.region_mutual_information_plain."
)


def window_sums(
    p: Tensor, y: Tensor, whole: Tensor | None, radius: int, active: Tensor | None = None
) -> Tensor:  # fmt: skip
    """Return centered sums of products over the windows of m pairs of maps, differentiable once with respect to ``p``.

    Args:
        p: m×h×w, float32 or float64.
        y: m×h×w, any type.
        whole: m×h'×w' bool, the included windows by their upper left cell; None for all.
        radius: R.
        active: m bool, the maps that the kernels of CUDA compute, without a gradient in the others; None for PyTorch.

    Shapes:
        the result is m×2d×2d float64, ``[[PPᵀ, PYᵀ], [YPᵀ, YYᵀ]]``: sums, not means.
    """
    # two empty tensors, since Dynamo refuses one that is passed twice
    windows, maps = (p.new_ones(0, dtype=torch.bool) if one is None else one for one in (whole, active))
    result: Tensor = _WindowSums.apply(p, y, windows, maps, radius, active is not None)[0]
    return result


class _Unfolded:
    """The unfolded columns of m pairs of maps, centered, in float64; reused by every chunk of at most m pairs.

    Fresh memory would be the largest cost on a CPU: the system maps it page by page.
    """

    def __init__(self, m: int, p: Tensor, radius: int) -> None:
        (height, width), self.radius, self.margin = p.shape[1:], radius, radius - 1
        self.shape, self.starts, self.columns = (height, width), height - self.margin, width - self.margin  # h', w'
        self.lines = height + 2 * self.margin  # of a map: margins of zeros give every row all its neighbors
        # lines × 2R × w': every row of P and of Y R times, each displaced by one more column; a last margin, so that
        # the neighbors of every line exist
        size = m * self.lines + 2 * self.margin, 2 * radius, self.columns
        self.buffer = torch.zeros(size, dtype=torch.float64, device=p.device)
        # counts[r, i] = 1 if row r is row i of the windows that start at row r - i, for some start
        offset = torch.arange(height, device=p.device)[:, None] - torch.arange(radius, device=p.device)
        self.counts = ((offset >= 0) & (offset < self.starts)).double()

    def fill(self, p: Tensor, y: Tensor) -> None:
        self.m = len(p)
        used = self.buffer[: self.m * self.lines].view(self.m, self.lines, 2, self.radius, self.columns)
        inner = used[:, self.margin : self.lines - self.margin]
        for which, maps in enumerate((p, y)):
            centered = maps.double()
            centered = centered - centered.mean((-2, -1), keepdim=True)  # reduces cancellation in the covariances
            for j in range(self.radius):
                inner[:, :, which, j] = centered[:, :, j : j + self.columns]

    def neighbors(self, number: int) -> Tensor:
        """Return (m·lines)×(2R·number)×w': every line and ``number`` - 1 below it."""
        line = 2 * self.radius * self.columns
        size = self.m * self.lines, 2 * self.radius * number, self.columns
        return self.buffer.as_strided(size, (line, self.columns, 1))

    def by_map(self, lines: Tensor, first: int, number: int) -> Tensor:
        """Return m×number×…: the lines of every map from the line ``first``."""
        return lines.view(self.m, self.lines, *lines.shape[1:])[:, first : first + number]

    def totals(self) -> Tensor:
        """Return Σ x over all windows, m×2d; positions are (row, map, column)."""
        rows = self.by_map(self.neighbors(1).sum(-1), self.margin, self.shape[0])  # m×h×2R
        return torch.matmul(self.counts.T, rows).flatten(1)

    def sums(self) -> Tensor:
        """Return Σ x xᵀ over all windows, m×2d×2d."""
        m, radius = self.m, self.radius
        products = torch.bmm(self.neighbors(1), self.neighbors(radius).mT)
        rows = self.by_map(products, self.margin, self.shape[0])  # m×h×2R×(R·2R)
        # m × i × (a, s, b): sums over the rows of the windows of row i times row i + s
        by_start = torch.matmul(self.counts.T, rows.flatten(2)).view(m, radius, 2 * radius, radius, 2 * radius)
        sums = rows.new_empty(m, radius, 2 * radius, radius, 2 * radius)
        for i in range(radius):
            for s in range(radius - i):
                block = by_start[:, i, :, s]
                sums[:, i, :, i + s], sums[:, i + s, :, i] = block, block.mT
        return sums.view(m, 2 * radius * radius, -1)

    def windows(self, whole: Tensor) -> Tensor:
        """Return (m·h')×2d×w': the windows by their first row, 0 where excluded."""
        windows = self.by_map(self.neighbors(self.radius), self.margin, self.starts)
        return (windows * whole.double().unsqueeze(2)).flatten(0, 1)

    def totals_of(self, windows: Tensor) -> Tensor:
        """Return `totals` of the windows that `windows` returns."""
        return windows.sum(-1).view(self.m, self.starts, -1).sum(1)

    def sums_of(self, windows: Tensor) -> Tensor:
        """Return `sums` of the windows that `windows` returns."""
        return torch.bmm(windows, windows.mT).view(self.m, self.starts, *[windows.shape[1]] * 2).sum(1)

    def fold(self, coefficients: Tensor, means: Tensor) -> Tensor:
        """Return m×h×w: ``coefficients @ (x - means)`` of every window, added to the cells of the window."""
        m, radius = self.m, self.radius
        k = coefficients.view(m, radius, radius, radius, 2 * radius)  # m × i × j × i' × (map, j')
        constant = (coefficients @ means.unsqueeze(-1)).view(m, radius, radius)
        # by displacement s + 1 - R = i' - i, then for every row the sum over its positions i
        displaced = k.new_zeros(m, radius, radius, 2 * radius - 1, 2 * radius)
        for i in range(radius):
            displaced[:, i, :, radius - 1 - i : 2 * radius - 1 - i] = k[:, i]
        around = 2 * radius - 1
        weights = k.new_zeros(m, self.lines, radius, around * 2 * radius)
        weights[:, : self.shape[0]] = torch.matmul(self.counts, displaced.flatten(2)).view(m, -1, *weights.shape[2:])
        spread = self.by_map(torch.bmm(weights.flatten(0, 1), self.neighbors(around)), 0, self.shape[0])
        offset = torch.matmul(self.counts, constant)  # m×h×R
        result = k.new_zeros(m, *self.shape)
        for j in range(radius):
            result[:, :, j : j + self.columns] += spread[:, :, j] - offset[:, :, j, None]
        return result

    def fold_of(self, windows: Tensor, whole: Tensor, coefficients: Tensor, means: Tensor) -> Tensor:
        """Return `fold` of the windows that `windows` returns."""
        constant = (coefficients @ means.unsqueeze(-1)).unsqueeze(1)  # m×1×d×1
        by_row = windows.view(self.m, self.starts, -1, self.columns)
        spread = coefficients.unsqueeze(1) @ by_row - constant * whole.double().unsqueeze(2)  # m×h'×d×w'
        result = coefficients.new_zeros(self.m, *self.shape)
        for position in range(self.radius**2):
            i, j = divmod(position, self.radius)
            result[:, i : i + self.starts, j : j + self.columns] += spread[:, :, position]
        return result


def _chunks(p: Tensor, y: Tensor, whole: Tensor, radius: int) -> Iterator[tuple[slice, _Unfolded, Tensor | None, Any]]:
    """Yield maps a few at a time: their slice, unfolded columns, windows if some are excluded, and numbers (m×1×1)."""
    every = not len(whole)
    cells = p[0].numel() if len(p) else 1
    limit = _CHUNK_BYTES if p.device.type == "cpu" else _CHUNK_BYTES_OF_DEVICES
    limit = min(limit, int(_CHUNK_SHARE * 4 * p.numel()))
    size = max(1, limit // (16 * radius * cells * (1 if every else radius)))
    unfolded = _Unfolded(min(size, len(p)), p, radius)
    for start in range(0, len(p), size):
        part = slice(start, start + size)
        unfolded.fill(p[part], y[part])
        if every:
            yield part, unfolded, None, unfolded.starts * unfolded.columns
        else:
            yield part, unfolded, unfolded.windows(whole[part]), whole[part].sum((1, 2)).clamp(min=1).view(-1, 1)


def _by_row(matrix: Tensor, radius: int) -> Tensor:
    # positions in the last dimension of …×2d coefficients or sums, from (map, row, column) to (row, map, column)
    return matrix.unflatten(-1, (2, radius, radius)).transpose(-3, -2).flatten(-3)


def _by_map(matrix: Tensor, radius: int) -> Tensor:
    # the inverse of `_by_row`
    return matrix.unflatten(-1, (radius, 2, radius)).transpose(-3, -2).flatten(-3)


# --- operators

_LIBRARY: Final = torch.library.Library("segmi", "FRAGMENT")
_ARGUMENTS: Final = "Tensor p, Tensor y, Tensor whole, Tensor active, int radius, bool triton"
_TAGS: Final = (torch.Tag.pt2_compliant_tag,)
_LIBRARY.define(f"window_sums({_ARGUMENTS}) -> (Tensor, Tensor)", tags=_TAGS)
_LIBRARY.define(f"window_sums_gradient(Tensor upstream, Tensor means, {_ARGUMENTS}) -> Tensor", tags=_TAGS)


@torch.library.impl(_LIBRARY, "window_sums", "CompositeExplicitAutograd")
def _sums(
    p: Tensor, y: Tensor, whole: Tensor, active: Tensor, radius: int, triton: bool
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the sums and the means of the windows, m×2d."""
    if triton:
        from segmi.losses.rmi import cuda

        return cuda.window_sums(p, y, whole, active, radius)
    side = 2 * radius**2
    result = torch.empty(len(p), side, side, dtype=torch.float64, device=p.device)
    means = result.new_empty(len(p), side)
    for part, unfolded, windows, number in _chunks(p, y, whole, radius):
        if windows is None:
            sums, totals = unfolded.sums(), unfolded.totals()
        else:
            sums, totals = unfolded.sums_of(windows), unfolded.totals_of(windows)
        means[part] = totals / number
        centered = sums - totals[:, :, None] * means[part][:, None, :]
        result[part] = _by_map(_by_map(centered, radius).mT, radius).mT
    return result, means


@torch.library.impl(_LIBRARY, "window_sums_gradient", "CompositeExplicitAutograd")
def _gradient(
    upstream: Tensor, means: Tensor, p: Tensor, y: Tensor, whole: Tensor, active: Tensor, radius: int, triton: bool
) -> Tensor:  # fmt: skip
    if triton:
        from segmi.losses.rmi import cuda

        return cuda.window_sums_gradient(upstream, means, p, y, whole, active, radius)
    result, d = torch.empty_like(p, memory_format=torch.contiguous_format), radius**2
    for part, unfolded, windows, _ in _chunks(p, y, whole, radius):
        slope = upstream[part].double()
        coefficients = _by_row((slope + slope.mT)[:, :d], radius).contiguous()
        if windows is None:
            result[part] = unfolded.fold(coefficients, means[part])
        else:
            result[part] = unfolded.fold_of(windows, whole[part], coefficients, means[part])
    return result


@torch.library.register_fake("segmi::window_sums", lib=_LIBRARY)
def _(p: Tensor, y: Tensor, whole: Tensor, active: Tensor, radius: int, triton: bool) -> tuple[Tensor, Tensor]:
    sums = p.new_empty(p.shape[0], 2 * radius**2, 2 * radius**2, dtype=torch.float64)
    return sums, sums.new_empty(sums.shape[:2])


@torch.library.register_fake("segmi::window_sums_gradient", lib=_LIBRARY)
def _(upstream: Tensor, means: Tensor, p: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(p, memory_format=torch.contiguous_format)


class _WindowSums(torch.autograd.Function):
    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, Tensor]:
        results: tuple[Tensor, Tensor] = torch.ops.segmi.window_sums(*inputs)
        return results

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        *tensors, ctx.radius, ctx.triton = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1], *tensors)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        return _Gradient.apply(upstream[0], *ctx.saved_tensors, ctx.radius, ctx.triton), *[None] * 5

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], *inputs: Any) -> tuple[tuple[Tensor, ...], tuple[int, int]]:
        results = _WindowSums.apply(*_folded(info.batch_size, dims, inputs))
        return tuple(one.unflatten(0, (info.batch_size, -1)) for one in results), (0, 0)


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(  # Dynamo needs the names of the arguments
        upstream: Tensor, means: Tensor, p: Tensor, y: Tensor, whole: Tensor, active: Tensor, radius: int, triton: bool
    ) -> Tensor:
        gradient: Tensor = torch.ops.segmi.window_sums_gradient(upstream, means, p, y, whole, active, radius, triton)
        return gradient

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None: ...

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        raise RuntimeError(SECOND_DERIVATIVE)

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        gradient: Tensor = _Gradient.apply(*_folded(info.batch_size, dims, inputs))
        return gradient.unflatten(0, (info.batch_size, -1)), 0


def _folded(size: int, dims: tuple[int | None, ...], inputs: tuple[Any, ...]) -> list[Any]:
    # tensors with the batch of a transform and the maps as their first dimension; the last inputs are no tensors
    *tensors, radius, triton = inputs
    return [
        *(
            (one.expand(size, *one.shape) if dim is None else one.movedim(dim, 0)).flatten(0, 1)
            for one, dim in zip(tensors, dims[:-2], strict=True)
        ),
        radius,
        triton,
    ]
